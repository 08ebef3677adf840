export {
  type Asked,
  type Choice,
  type ChoiceAnswer,
  chooseEach,
  type LetterCounts,
  type SampledLetters,
  sampledLettersSchema,
  unreadReason,
} from "./choose.ts";
export { type ExpectedRating, expectedRatings, type Rated, unreadVerdict } from "./expected.ts";
export { findsNothing } from "./finds-nothing.ts";
export { critiqueFormats, type JudgeCase, unshown } from "./formats/index.ts";
export {
  compareByJudge,
  imagesShown,
  type JudgeAsking,
  type Judged,
  judgeAskingSchema,
  type Opinion,
  type Said,
  scoreByJudge,
  showsRubric,
  sideBySide,
  verdictTokens,
} from "./judge.ts";
export { type Answer, readAnswer } from "./letters.ts";
export {
  type AskingWay,
  askingWay,
  choicePrompt,
  demonstrationTurns,
  type LabelDemonstration,
  labelDemonstrationSchema,
  labelDemonstrationsSchema,
  letters,
  type Question,
  reasoningPrompt,
  reasoningStop,
} from "./question.ts";
export { generalRubric, type Rubric, rubricOf } from "./rubric.ts";
export { type VerdictAnswer, type VerdictAsked, verdictQuestion, verdicts } from "./verdict.ts";

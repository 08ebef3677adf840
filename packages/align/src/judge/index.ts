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

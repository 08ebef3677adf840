export { type Adherence, adherence, type JudgedResponse, type PrincipleVerdict, violates } from "./adherence.ts";
export { assembleScorecard, type ScorecardEvidence } from "./assemble.ts";
export type { BaselineEvidence } from "./baselines.ts";
export type { Bound } from "./bound.ts";
export {
  type Divergence,
  divergence,
  type SampleLogprobs,
  sampleLogprobsSchema,
  scoreResponses,
} from "./divergence.ts";
export {
  type ExpectedScore,
  expectedScoreSchema,
  expectedScores,
  ratingQuestion,
} from "./expected-score.ts";
export { accuracyGate, type Gate, type GateSettings, gateFields } from "./gate.ts";
export {
  formatJudge,
  type JudgedOptions,
  type JudgedScore,
  judgedDependsOn,
  judgedScoreSchema,
  judgedScores,
} from "./judged.ts";
export { judgedResponses } from "./judged-responses.ts";
export type { CheckpointEvidence } from "./measures.ts";
export {
  answerChoices,
  answerChoicesDependsOn,
  type ChoiceAnswer,
  choiceAccuracy,
  choiceAnswerSchema,
} from "./multiple-choice.ts";
export {
  type OptimisationPoint,
  type Overoptimisation,
  overoptimisation,
  overoptimisationRule,
  type Trust,
} from "./overoptimisation.ts";
export {
  type NeutralText,
  neutralTextSchema,
  perplexity,
  perplexityRise,
  scoreTexts,
  type TextScore,
  textScoreSchema,
} from "./perplexity.ts";
export { type FewPairs, fewPairs, gatePower, leastChange, leastPairs } from "./power.ts";
export { type Recommendation, recommend } from "./recommend.ts";
export {
  detectRefusal,
  promptKey,
  type Refusal,
  type RefusalRates,
  refusalPatterns,
  refusalRates,
  refuses,
  type Stance,
} from "./refusal.ts";
export { breaksOf, subjectOf } from "./report/first-screen.ts";
export { scorecardPage } from "./report/report.ts";
export { tokens as reportTokens } from "./report/style.ts";
export {
  type Baseline,
  type CardEstimate,
  type CardSample,
  type LabelHealth,
  labelHealthSchema,
  type Metric,
  parseScorecard,
  type Scorecard,
  ScorecardError,
  type ScorecardInput,
  scorecardJson,
  scorecardSchema,
} from "./scorecard.ts";
export { answerOpinions, type OpinionAnswer, opinionAnswerSchema, sycophancyProbe } from "./sycophancy.ts";
export { scorecardTable } from "./table.ts";
export {
  type CompareOptions,
  type Comparison,
  choiceJudge,
  comparePairs,
  comparePairsDependsOn,
  comparisonSchema,
  eloRatings,
  judgeQuestion,
  type Orders,
  type PairJudge,
  pairResponses,
  scoreJudge,
  type WinRate,
  winRate,
} from "./winrate.ts";

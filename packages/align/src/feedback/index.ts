export {
  type Answer,
  findsNothing,
  type LabelDemonstration,
  labelDemonstrationSchema,
  letters,
  readAnswer,
} from "../judge/index.ts";
export {
  type AgreementMatrix,
  agreementMatrix,
  enoughReadings,
  type PrincipleAgreement,
  pulledApart,
} from "./agreement-matrix.ts";
export { type Audit, type AuditSettings, auditLabels, auditPairs, auditSettingsSchema } from "./audit.ts";
export { labelByChecks } from "./check-labels.ts";
export {
  type ContrastOptions,
  contrastDependsOn,
  contrastPairs,
  contrastSettingsSchema,
  labelByContrast,
} from "./contrast.ts";
export { type LabelCost, type LabelCosts, labelCosts, type RoleUsage } from "./cost.ts";
export {
  type CritiqueOptions,
  critiqueAndRevise,
  critiqueDependsOn,
} from "./critique.ts";
export { type CritiqueSettings, critiqueSettingsSchema } from "./critique-settings.ts";
export {
  type DeliberateOptions,
  type DeliberateSettings,
  deliberate,
  deliberateDependsOn,
  deliberateSettingsSchema,
  readingsBy,
  reasonedByChecks,
} from "./deliberate.ts";
export { demonstrationsUnder, type Layout, layouts } from "./demonstrations.ts";
export {
  type DialogueOptions,
  type DialogueSettings,
  dialogueDependsOn,
  dialogueSettingsSchema,
  dialogues,
  personasSchema,
} from "./dialogue.ts";
export {
  type ExamplesOptions,
  type ExamplesSettings,
  examplesDependsOn,
  examplesFromChains,
  examplesFromResponses,
  examplesSettingsSchema,
} from "./examples.ts";
export {
  type GivenCounts,
  type GivenOptions,
  type GivenSettings,
  givenSettingsSchema,
  underPrinciples,
} from "./given.ts";
export { applyHumanLabels, type HumanLabels } from "./human.ts";
export { easyPairs, type JudgeAsking, type JudgeRowsOptions, judgeDependsOn, judgeRows } from "./judge-rows.ts";
export { knownExamples } from "./known-examples.ts";
export { type LabelOptions, labelDependsOn, labelPairs } from "./label.ts";
export { type LabelSettings, labelSettingsSchema } from "./label-settings.ts";
export { type Reading, readingSchema, readingsOf } from "./labelled-pair.ts";
export { judgePairs, type PairVerdict, pairVerdictSchema } from "./pair-verdicts.ts";
export { makePairs, type PairOptions, type PairSettings, pairSettingsSchema, pairsDependsOn } from "./pairs.ts";
export { principleJudge } from "./principle-judge.ts";
export { type RespondOptions, respond, respondDependsOn } from "./respond.ts";
export { type CleanRevision, cleanRevision, type Edit, revisionFault } from "./revision.ts";
export { labelByVerdicts, toldApart, verdictRows, verdictsDependOn } from "./verdict-rows.ts";
export { type WeighCounts, type Weighed, type WeighSettings, weigh, weighSettingsSchema } from "./weigh.ts";

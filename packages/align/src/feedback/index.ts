export { type Audit, type AuditSettings, auditLabels, auditPairs, auditSettingsSchema, type Gate } from "./audit.ts";
export { findsNothing } from "./chain.ts";
export { humanLabelUsd, type LabelCost, type LabelCosts, labelCosts, type RoleUsage, usageSince } from "./cost.ts";
export {
  type CritiqueOptions,
  type CritiqueSettings,
  critiqueAndRevise,
  critiqueDependsOn,
  critiqueSettingsSchema,
} from "./critique.ts";
export { type Layout, layouts } from "./demonstrations.ts";
export {
  type ExamplesOptions,
  type ExamplesSettings,
  examplesDependsOn,
  examplesFromChains,
  examplesFromResponses,
  examplesSettingsSchema,
} from "./examples.ts";
export { applyHumanLabels, type HumanLabels } from "./human.ts";
export {
  type LabelOptions,
  type LabelSettings,
  labelDependsOn,
  labelPairs,
  labelSettingsSchema,
  type Reading,
  readingSchema,
} from "./label.ts";
export { makePairs, type PairOptions, type PairSettings, pairSettingsSchema, pairsDependsOn } from "./pairs.ts";
export { type LabelDemonstration, labelDemonstrationSchema } from "./question.ts";
export { type RespondOptions, respond, respondDependsOn } from "./respond.ts";
export { type CleanRevision, cleanRevision, type Edit, revisionFault } from "./revision.ts";

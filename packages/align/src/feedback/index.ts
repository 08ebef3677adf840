export { findsNothing } from "./chain.ts";
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
  examplesSettingsSchema,
} from "./examples.ts";
export { type RespondOptions, respond, respondDependsOn } from "./respond.ts";
export { type CleanRevision, cleanRevision, type Edit, revisionFault } from "./revision.ts";

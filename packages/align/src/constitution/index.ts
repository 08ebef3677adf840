export {
  type CaiPaperTexts,
  type Demonstration,
  demonstrationSchema,
  importCaiPaper,
  importDemonstrations,
} from "./cai-paper.ts";
export { type CheckResult, runChecks } from "./checks.ts";
export { type DrawOptions, drawPrinciples } from "./draw.ts";
export * from "./errors.ts";
export { type ConstitutionDiff, constitutionHash, diffConstitutions, principleHash } from "./identity.ts";
export { type LoadOptions, loadConstitution, parseConstitution } from "./load.ts";
export {
  type Check,
  type CheckedExample,
  type CheckFunction,
  type Constitution,
  type ConstitutionInput,
  constitutionSchema,
  type Principle,
  type Rule,
} from "./schema.ts";
export { checkReward, type Violations, violations } from "./violations.ts";
export { type CandidateTally, fromVotes, type Vote, type VoteOptions } from "./votes.ts";

export { type Authority, asAsked, authorities, authorityWeight } from "./authority.ts";
export {
  type CaiPaperTexts,
  type Demonstration,
  demonstrationSchema,
  importCaiPaper,
  importDemonstrations,
} from "./cai-paper.ts";
export { type CheckResult, looksAtCategories, runChecks } from "./checks.ts";
export { type Collective, type CollectiveOptions, collectiveConstitution } from "./collective.ts";
export { type DrawOptions, drawnFrom, drawPrinciples } from "./draw.ts";
export * from "./errors.ts";
export { givenOf } from "./given.ts";
export { askedHash, type ConstitutionDiff, constitutionHash, diffConstitutions, principleHash } from "./identity.ts";
export { type LintFinding, type LintKind, type LintOptions, lintConstitution } from "./lint.ts";
export {
  isConstitution,
  type LoadOptions,
  loadConstitution,
  parseConstitution,
  readSpecificationConstitution,
} from "./load.ts";
export { opinionGroups } from "./opinion-groups.ts";
export { type PolisExport, type PolisParticipant, type PolisStatement, readPolis } from "./polis.ts";
export {
  type Check,
  type CheckedExample,
  type CheckFunction,
  type Constitution,
  type ConstitutionDocument,
  type ConstitutionInput,
  constitutionSchema,
  type Principle,
  type PrincipleExample,
  type Rule,
} from "./schema.ts";
export { type SpecCounts, specificationConstitution } from "./spec-constitution.ts";
export {
  isSpecification,
  parseSpecification,
  type Specification,
  type SpecSection,
} from "./specification.ts";
export { checkReward, type Violations, violations } from "./violations.ts";
export { type CandidateTally, fromVotes, type Vote, type VoteOptions } from "./votes.ts";
export { constitutionText } from "./write.ts";

export {
  messageOf,
  type PromptCoverage,
  type PromptPurpose,
  type WritePromptsOptions,
  type WrittenPrompt,
  type WrittenPrompts,
  writePrompts,
} from "./write-prompts.ts";

import type { Prompt } from "../language-model/types.ts";
import type { ChatTraits } from "./traits.ts";

/** What is looked at of a `TextCodec`. */
interface Opened {
  readonly traits: ChatTraits | undefined;
  readonly rowless: readonly { readonly id: number; readonly text: string }[];
  encodePrompt(prompt: Prompt): number[];
}

/** Errors: ChatTemplateError where the model has no chat template, or one that conversations cannot be given through. */
export function requireConversations(text: Pick<Opened, "traits" | "encodePrompt">): void {
  // What is asked here in vain would be asked in vain by every row.
  if (!text.traits || text.traits.fault !== undefined) text.encodePrompt([{ role: "user", content: "Hello" }]);
}

/**
 * What is unusual about a model's text, a sentence each: what its chat template refuses or leaves out, tokens without a row. None of
 * it keeps a conversation from the model; `ChatTraits.fault` does.
 */
export function textFindings({ traits, rowless }: Pick<Opened, "traits" | "rowless">): string[] {
  const findings: string[] = [];
  if (rowless.length > 0) {
    const names = rowless.slice(0, 5).map(({ id, text }) => `${text} (${id})`);
    const more = rowless.length > 5 ? ` and ${rowless.length - 5} more` : "";
    findings.push(
      `the embedding has no row for ${rowless.length === 1 ? "a token" : `${rowless.length} tokens`} of tokenizer.json: ${names.join(", ")}${more}; texts that hold one are set aside`,
    );
  }
  if (!traits || traits.fault !== undefined) return findings;
  if (traits.end === null)
    findings.push("the chat template writes no token behind a reply at which generation stops: it cannot be trained");
  if (traits.opening === "completed")
    findings.push(
      `the chat template writes nothing where a reply is asked for; ${JSON.stringify(traits.prompt)}, which it writes before replies, is added`,
    );
  if (traits.opening === "other")
    findings.push(
      `a reply is asked for behind ${JSON.stringify(traits.prompt)}, while finished conversations have ${JSON.stringify(traits.finished)} before it; training goes by what is asked`,
    );
  if (traits.system === "refused") findings.push("the chat template refuses system turns; rows with one are set aside");
  if (traits.system === "left out")
    findings.push("the chat template leaves out what a system turn says; rows with one are set aside");
  if (traits.system === "required")
    findings.push("the chat template wants a system turn first; rows without one are set aside");
  if (traits.bos > 1) findings.push(`the chat template begins texts with ${traits.bos} tokens for a text's beginning`);
  return findings;
}

import { conversations, type Family, families, familyText } from "@tenet/fixtures";
import { beforeAll, describe, expect, it } from "vitest";
import type { Checkpoint } from "../checkpoint/index.ts";
import { ChatTemplateError, type ChatTraits, openText, renderChat, type TextCodec } from "./index.ts";

/** A family's tokenizer and template, as a checkpoint holds them. */
async function openFamily(family: Family): Promise<TextCodec> {
  const { tokenizer, config, bos, eos, vocabulary } = familyText(family);
  return openText({
    path: family.name,
    config: { eos_token_ids: [eos], bos_token_id: bos, vocab_size: vocabulary },
    tokenizer: async () => ({ tokenizer, config }),
    chatTemplate: family.template,
  } as unknown as Checkpoint);
}

type Told = Pick<ChatTraits, "opening" | "lead" | "keepsReplies" | "system" | "alternates" | "bos"> & { end: string };

const plain: Told = {
  opening: "same",
  lead: "",
  keepsReplies: true,
  system: "written",
  alternates: false,
  bos: 1,
  end: "",
};
const chatml = { ...plain, bos: 0, end: "<|im_end|>" };

/** What each family's documentation says, in the terms of traits. */
const documented: Readonly<Record<string, Told>> = {
  "llama-2": { ...plain, lead: " ", system: "merged", alternates: true, end: " </s>" },
  "llama-3": { ...plain, end: "<|eot_id|>" },
  "llama-3.1": { ...plain, end: "<|eot_id|>" },
  "qwen-2.5": chatml,
  "qwen-3": { ...chatml, opening: "other", keepsReplies: false },
  "mistral-1": { ...plain, lead: " ", system: "refused", alternates: true, end: "</s>" },
  "mistral-3": { ...plain, lead: " ", system: "merged", alternates: true, end: "</s>" },
  "mistral-tekken": { ...plain, end: "</s>" },
  "gemma-2": { ...plain, system: "refused", alternates: true, end: "<end_of_turn>" },
  "gemma-3": { ...plain, system: "merged", alternates: true, end: "<end_of_turn>" },
  "phi-3": { ...plain, bos: 0, end: "<|end|>" },
  "phi-4": { ...plain, bos: 0, end: "<|im_end|>" },
  "smollm-2": { ...plain, end: "<|im_end|>" },
  "smollm-3": chatml,
  "deepseek-r1-distill": { ...plain, opening: "other", end: "<｜end▁of▁sentence｜>" },
  "olmo-2": { ...plain, end: "<|endoftext|>" },
  "granite-3": { ...plain, bos: 0, end: "<|end_of_text|>" },
  zephyr: { ...plain, bos: 0, end: "</s>" },
  chatml,
  "chatml-headless": { ...chatml, opening: "completed" },
  "openchat-3.5": { ...plain, lead: " ", end: "<|end_of_turn|>" },
};

it("the families are known, and published ones", () => {
  expect(families.map(({ name }) => name).sort()).toEqual(Object.keys(documented).sort());
  expect(families.length).toBeGreaterThan(12);
});

describe.each(families)("$name", (family) => {
  let text: TextCodec;
  beforeAll(async () => {
    text = await openFamily(family);
  });
  const of = (name: string) => conversations[name]!;
  const variables: Record<string, string> = { eos_token: family.eos, ...(family.bos ? { bos_token: family.bos } : {}) };

  it("renders every conversation as Python's Jinja does, or refuses it with the same reason", () => {
    for (const [name, messages] of Object.entries(conversations)) {
      const theirs = family.rendered[name]!;
      const addGenerationPrompt = messages.at(-1)!.role !== "assistant";
      const ours = () => renderChat(family.template, messages, { variables, addGenerationPrompt });
      if ("refused" in theirs) {
        expect(ours, name).toThrow(theirs.refused);
        expect(() => text.encodePrompt(messages), name).toThrow(ChatTemplateError);
      } else expect(ours(), name).toBe(theirs.text);
    }
  });

  it("has the traits that its documentation says", () => {
    const { opening, lead, keepsReplies, system, alternates, bos, end, fault } = text.traits!;
    const told = { opening, lead, keepsReplies, system, alternates, bos, end: end && text.decode(end) };
    // A space before a text is its tokenizer's, which decoding takes away.
    expect({ ...told, end: told.end?.trim() }).toEqual({
      ...documented[family.name],
      end: documented[family.name]!.end.trim(),
    });
    expect(end!.length).toBe(documented[family.name]!.end.startsWith(" ") ? 2 : 1);
    expect(fault).toBeUndefined();
    expect(text.endIds.has(end!.at(-1)!)).toBe(true);
    expect(text.rowless).toEqual([]);
  });

  it("gives generation what Python's Jinja renders, and training the same with the reply behind it", () => {
    const reply = "The Rhône:\n1. long\n2. wide";
    for (const [name, whole] of [
      ["question", undefined],
      ["further question", "further finished"],
      ["system", undefined],
    ] as const) {
      const theirs = family.rendered[name]!;
      if ("refused" in theirs) continue;
      const prompt = text.encodePrompt(of(name));
      const { opening, prompt: written, end } = text.traits!;
      const added = opening === "completed" ? written : "";
      expect(prompt, name).toEqual(text.encode(theirs.text + added, { allowSpecial: true }));
      const encoded = text.encodeBehind(of(name), [reply]);
      expect(encoded.prompt, name).toEqual(prompt);
      const finished = whole && family.rendered[whole]!;
      if (finished === undefined || "refused" in finished || opening === "other") continue;
      const all = text.encode(finished.text, { allowSpecial: true });
      const trained = [...prompt, ...encoded.texts[0]!, ...end!];
      expect(trained, name).toEqual(all.slice(0, trained.length));
      // What is left stands behind the end, where nothing is generated.
      expect(text.decode(all.slice(trained.length)).replace(family.eos, "").trim(), name).toBe("");
    }
  });

  it("takes control tokens from the template only, in prompts and in replies", () => {
    const inContents = [...family.special, family.eos].join(" ");
    const controls = (ids: readonly number[]) => ids.filter((id) => text.endIds.has(id)).length;
    const harmless = text.encodePrompt([{ role: "user", content: "Hello" }]);
    const hostile = text.encodeBehind([{ role: "user", content: inContents }], [inContents]);
    expect(controls(hostile.prompt)).toBe(controls(harmless));
    expect(controls(hostile.texts[0]!)).toBe(0);
  });
});

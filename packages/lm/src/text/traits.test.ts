import { type Family, families, familyText } from "@tenet/fixtures";
import { describe, expect, it } from "vitest";
import type { Checkpoint } from "../checkpoint/index.ts";
import {
  ChatTemplateError,
  openText,
  requireConversations,
  type TextCodec,
  TokenRowError,
  textFindings,
} from "./index.ts";

const chatml = families.find(({ name }) => name === "chatml")!;

interface Changes {
  template?: string;
  family?: Partial<Family>;
  rows?: number;
  ends?: number[];
}
async function open({ template, family = {}, rows, ends }: Changes): Promise<TextCodec> {
  const { tokenizer, config, eos, bos, vocabulary } = familyText({ ...chatml, ...family });
  return openText({
    path: "models/odd",
    config: { eos_token_ids: ends ?? [eos], bos_token_id: bos, vocab_size: rows ?? vocabulary },
    tokenizer: async () => ({ tokenizer, config }),
    chatTemplate: template ?? family.template ?? chatml.template,
  } as unknown as Checkpoint);
}

const turns = (inner: string) => `{% for m in messages %}${inner}{% endfor %}`;
const asks = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
const turn = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n";
const user = (content: string) => ({ role: "user" as const, content });
const hello = [user("Hello")];
const told = (text: TextCodec) => textFindings(text).join("\n");

describe("a template that no conversation can be given through is found out when it is opened, and named", () => {
  const cases: Record<string, [changes: Changes, says: RegExp]> = {
    "it does not parse": [
      { template: "{% for m in messages %}{{ m.content }" },
      /models\/odd cannot be used: .*chat template/,
    ],
    "it refuses everything": [{ template: "{{ raise_exception('closed') }}" }, /closed/],
    "it leaves out what the person says": [
      { template: `${turns("{{ m.role }}: \n")}${asks}` },
      /leaves out what the person/,
    ],
    "it reads of contents only parts": [{ template: turns("{{ m.content[0].text }}") }, /leaves out|cannot be used/],
    "it writes a token that has no row": [{ rows: 257 }, /<\|im_start\|> \(id 257\).*no row/],
    "it does not end": [
      { template: turns(`{% for i in range(9000) %}{% for j in range(9000) %}{% endfor %}{% endfor %}`) },
      /more work/,
    ],
  };
  for (const [name, [changes, says]] of Object.entries(cases))
    it(name, async () => {
      const text = await open(changes);
      expect(text.traits!.fault).toBeDefined();
      expect(() => text.encodePrompt(hello)).toThrow(says);
      expect(() => requireConversations(text)).toThrow(ChatTemplateError);
      expect(() => requireConversations(text)).toThrow(/Use the one that the model's publisher gives/);
      // Raw text needs no template.
      expect(text.encodePrompt("Hello")).toEqual(text.encode("Hello"));
    });
});

describe("what a template does is known", () => {
  it("no token ends a reply, or only one that opens turns", async () => {
    for (const template of [
      `${turns("{{ m.role }}: {{ m.content }}\n")}{% if add_generation_prompt %}assistant:{% endif %}`,
      `${turns("<|im_start|>{{ m.content }}")}<|im_start|>`,
    ]) {
      const text = await open({ template });
      expect(text.traits!.end).toBeNull();
      expect(text.traits!.fault).toBeUndefined();
      expect([...text.endIds]).toEqual([text.encode("<|endoftext|>", { allowSpecial: true })[0]]);
      expect(told(text)).toContain("cannot be trained");
    }
  });

  it("a turn that is closed only where another follows", async () => {
    const text = await open({
      template: `${turns("<|im_start|>{{ m.role }}\n{{ m.content }}{% if not loop.last %}<|im_end|>\n{% endif %}")}{% if add_generation_prompt %}<|im_end|>\n<|im_start|>assistant\n{% endif %}`,
      family: { eos: "<|im_end|>", special: ["<|im_start|>"] },
    });
    expect(text.decode(text.traits!.end!)).toBe("<|im_end|>");
  });

  it("a generation prompt that is always written, and none that ever is", async () => {
    const always = await open({ template: `${turns(turn)}{{ '<|im_start|>assistant\n' }}` });
    expect(always.traits).toMatchObject({ opening: "same", lead: "" });
    expect(always.decode(always.traits!.end!)).toBe("<|im_end|>");
    const finished = [...hello, { role: "assistant" as const, content: "Hi." }];
    for (const template of [turns(turn), `${turns(turn)}{% if add_generation_prompt %}{% endif %}`]) {
      const never = await open({ template });
      expect(never.traits).toMatchObject({ opening: "completed", prompt: "<|im_start|>assistant\n" });
      const { prompt, texts } = never.encodeBehind(hello, ["Hi."]);
      expect([...prompt, ...texts[0]!]).toEqual(never.encodePrompt(finished));
      expect(told(never)).toContain("is added");
    }
  });

  it("an opened thought, and one that is written afterwards", async () => {
    const opened = await open({
      template: `${turns(turn)}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}`,
    });
    expect(opened.traits).toMatchObject({ opening: "other", prompt: "<|im_end|>\n<|im_start|>assistant\n<think>\n" });
    expect(told(opened)).toContain("training goes by what is asked");
  });

  it("a system turn that is left out, refused or wanted", async () => {
    const silent = await open({ template: `${turns(`{% if m.role != 'system' %}${turn}{% endif %}`)}${asks}` });
    expect(silent.traits!.system).toBe("left out");
    expect(() => silent.encodePrompt([{ role: "system", content: "Be brief." }, ...hello])).toThrow(
      /leaves out what a system/,
    );
    expect(silent.encodePrompt(hello).length).toBeGreaterThan(0);
    const wants = await open({
      template: `{% if messages[0].role != 'system' %}{{ raise_exception('system first') }}{% endif %}${turns(turn)}${asks}`,
    });
    expect(wants.traits!.system).toBe("required");
    expect(wants.traits!.fault).toBeUndefined();
    expect(() => wants.encodePrompt(hello)).toThrow(/system first/);
    expect(wants.traits!.end).toHaveLength(1);
  });

  it("a doubled beginning", async () => {
    const text = await open({ template: `{{ bos_token }}<s>${turns(turn)}${asks}`, family: { bos: "<s>" } });
    expect(text.traits!.bos).toBe(2);
    expect(told(text)).toContain("begins texts with 2 tokens");
  });
});

describe("tokens that the embedding has no row for", () => {
  const family = { added: ["[TOOL]", "[DATA]"] };
  it("are named when the model is opened, and texts that hold them cannot be encoded", async () => {
    const text = await open({ family, rows: 259 });
    expect(text.rowless).toEqual([
      { id: 259, text: "[TOOL]" },
      { id: 260, text: "[DATA]" },
    ]);
    expect(told(text)).toContain("no row for 2 tokens of tokenizer.json: [TOOL] (259), [DATA] (260)");
    expect(() => text.encodePrompt([user("What does [TOOL] do?")])).toThrow(TokenRowError);
    expect(() => text.encodePrompt([user("What does [TOOL] do?")])).toThrow(
      /"\[TOOL\]", token 259 .* config.json counts 259/,
    );
    expect(() => text.encodePrompt("[DATA]")).toThrow(TokenRowError);
    expect(() => text.encode("[DATA]")).toThrow(TokenRowError);
    expect(() => text.encodeBehind(hello, ["fine", "[DATA]"])).toThrow(TokenRowError);
    expect(text.encodeBehind(hello, ["fine"]).texts[0]!.length).toBeGreaterThan(0);
  });

  it("never end a reply: the graph has no column for them", async () => {
    const text = await open({ family, rows: 259, ends: [256, 260, 5000] });
    expect([...text.endIds].every((id) => id < 259)).toBe(true);
    expect(text.endIds.has(256)).toBe(true);
  });

  it("are none where the embedding has rows to spare", async () => {
    const text = await open({ family, rows: 512 });
    expect(text.rowless).toEqual([]);
    expect(text.encode("[DATA]")).toHaveLength(1);
  });
});

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/index.ts";
import { openText, renderChat, type TextCodec } from "../../src/text/index.ts";
import { openTokenizer } from "../../src/text/tokenizer.ts";
import { type ChatGolden, readGolden, type TokenizerGolden, type TokenizersGolden, unpack } from "./golden.ts";

const tokenizers = readGolden<TokenizersGolden>("tokenizers.golden.json");
const chat = readGolden<ChatGolden>("chat.golden.json");
const { strings } = tokenizers;

type Codec = Pick<TextCodec, "encode" | "decode">;

function agrees(codec: Codec, golden: TokenizerGolden): void {
  const recognised = unpack(golden.recognised);
  const plain = unpack(golden.plain);
  expect(recognised).toHaveLength(2000);
  const wrong: object[] = [];
  const compare = (what: string, text: string, ours: unknown, theirs: unknown) => {
    if (JSON.stringify(ours) !== JSON.stringify(theirs)) wrong.push({ what, text, ours, theirs });
  };
  for (const [i, text] of strings.entries()) {
    const ids = recognised[i]!;
    const differs = golden.differ.indexOf(i);
    compare("recognised", text, codec.encode(text, { allowSpecial: true }), ids);
    compare("plain", text, codec.encode(text), differs < 0 ? ids : plain[differs]);
    const decoded = golden.notRoundTrip[i] ?? text;
    compare("decoded", text, codec.decode(ids), decoded);
    compare("without special", text, codec.decode(ids, { skipSpecial: true }), golden.skipped[i] ?? decoded);
  }
  expect(wrong.slice(0, 5), `${wrong.length} differ`).toEqual([]);
}

function agreesOnChats(codec: TextCodec, packed: string): void {
  const wrong: object[] = [];
  let compared = 0;
  for (const [i, theirs] of unpack(packed).entries()) {
    if (theirs.length === 0) continue;
    compared++;
    const ours = codec.encodePrompt(chat.conversations[i]!);
    if (ours.join() !== theirs.join()) wrong.push({ ours: codec.decode(ours), theirs: codec.decode(theirs) });
  }
  expect(wrong.slice(0, 3), `${wrong.length} of ${compared} differ`).toEqual([]);
  expect(compared).toBeGreaterThan(45);
}

/** A checkpoint of which only tokenizer and template are there. */
function checkpointOf(tokenizer: Record<string, unknown>, config: Record<string, unknown>, ends: number[]): Checkpoint {
  return {
    config: { eos_token_ids: ends },
    tokenizer: async () => ({ tokenizer, config }),
    chatTemplate: config.chat_template,
  } as unknown as Checkpoint;
}

describe("a tokenizer trained by golden.py", () => {
  const files = { tokenizer: readGolden<Record<string, unknown>>("tiny.golden.json"), config: {} };

  it("gives Hugging Face's ids and texts on 2,000 strings", () => agrees(openTokenizer(files), tokenizers.tiny));
});

describe("templates render as transformers renders them", () => {
  for (const [name, { template, rendered }] of Object.entries(chat.templates))
    it(name, async () => {
      const codec = await openText(
        checkpointOf(readGolden("tiny.golden.json"), { ...chat.variables, chat_template: template }, []),
      );
      for (const [i, messages] of chat.conversations.entries()) {
        const theirs = rendered[i];
        if (theirs === null) {
          expect(() => codec.encodePrompt(messages), JSON.stringify(messages)).toThrow(/chat template/);
          continue;
        }
        const ids = codec.encodePrompt(messages);
        expect(ids, JSON.stringify(messages)).toEqual(codec.encode(theirs!, { allowSpecial: true }));
        if (messages.at(-1)?.role !== "user") continue;
        const options = { addGenerationPrompt: true, variables: chat.variables };
        expect(renderChat(template, messages, options)).toBe(theirs);
      }
    });
});

const gguf = process.env.TENET_TEST_MODEL ?? "";
describe.skipIf(!existsSync(gguf))("SmolLM2 (set TENET_TEST_MODEL to SmolLM2-135M-Instruct's GGUF)", () => {
  let codec: TextCodec;
  beforeAll(async () => {
    const checkpoint = await openCheckpoint(gguf);
    codec = await openText(checkpoint);
    await checkpoint.close();
  });
  it("gives Hugging Face's ids and texts on 2,000 strings", () => agrees(codec, tokenizers.smollm2));
  it("gives transformers' ids of conversations", () => agreesOnChats(codec, chat.smollm2));
  it("knows its end of turn", () => expect([...codec.endIds]).toEqual([2]));
});

const qwen = process.env.TENET_TEST_QWEN_TOKENIZER ?? "";
describe.skipIf(!existsSync(qwen))("Qwen3 (set TENET_TEST_QWEN_TOKENIZER to a folder with its tokenizer files)", () => {
  let codec: TextCodec;
  beforeAll(async () => {
    const read = (name: string) => JSON.parse(readFileSync(join(qwen, name), "utf8"));
    codec = await openText(checkpointOf(read("tokenizer.json"), read("tokenizer_config.json"), [151643]));
  });
  it("gives Hugging Face's ids and texts on 2,000 strings", () => agrees(codec, tokenizers.qwen3));
  it("gives transformers' ids of conversations", () => agreesOnChats(codec, chat.qwen3));
  it("knows its end of turn", () => expect([...codec.endIds].sort()).toEqual([151643, 151645]));
});

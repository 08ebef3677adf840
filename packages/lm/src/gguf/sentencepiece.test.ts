import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { failure } from "../../test/checkpoint/build.ts";
import { pieces, texts, writeSentencePieceModel } from "../../test/gguf/sentencepiece.ts";
import { openCheckpoint, openGguf } from "../checkpoint/index.ts";
import { openLocalModel } from "../local/index.ts";
import { proveExport, startLlamaServer } from "../proof/index.ts";
import { openText } from "../text/index.ts";
import { exportGguf } from "./export.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-pieces-"));
});
afterAll(() => rm(folder, { recursive: true }));

let count = 0;
async function exported(changes: Readonly<Record<string, unknown>> = {}) {
  const from = await writeSentencePieceModel(join(folder, `model-${count++}`), changes);
  const path = join(folder, `${count++}.gguf`);
  const checkpoint = await openCheckpoint(from);
  const { notices } = await exportGguf(checkpoint, path, { type: "F32" }).finally(() => checkpoint.close());
  return { from, path, notices };
}

async function codec(path: string) {
  const checkpoint = await openCheckpoint(path);
  return openText(checkpoint).finally(() => checkpoint.close());
}

describe("a SentencePiece tokenizer in GGUF", () => {
  it("has scores, kinds of token and bytes as llama.cpp reads them", async () => {
    const { path, notices } = await exported();
    expect(notices).toEqual([]);
    const { metadata, close } = await openGguf(path);
    await close();
    const types = metadata.get("tokenizer.ggml.token_type") as Int32Array;
    expect(metadata.get("tokenizer.ggml.model")).toBe("llama");
    expect([...types.subarray(0, 4)]).toEqual([2, 3, 3, 6]);
    expect(types[pieces.indexOf("the")]).toBe(1);
    const scores = metadata.get("tokenizer.ggml.scores") as Float32Array;
    const score = (piece: string) => scores[pieces.indexOf(piece)]!;
    expect(score("th") > score("the") && score("the") > score("▁the") && score("▁the") > score("e")).toBe(true);
    expect(metadata.get("tokenizer.ggml.add_space_prefix")).toBe(true);
    expect(metadata.get("tokenizer.ggml.add_bos_token")).toBe(true);
  });

  it("is read back as the same tokenizer", async () => {
    const { from, path } = await exported();
    const [before, after] = [await codec(from), await codec(path)];
    for (const text of texts) {
      expect(after.encode(text), text).toEqual(before.encode(text));
      expect(after.decode(after.encode(text))).toBe(text);
      const prompt = [{ role: "user" as const, content: text }];
      expect(after.encodePrompt(prompt)).toEqual(before.encodePrompt(prompt));
    }
    expect(before.encode("the end").map((id) => pieces[id])).toEqual(["▁the", "▁", "en", "d"]);
    expect(before.encode("ï").map((id) => pieces[id])).toEqual(["▁", "<0xC3>", "<0xAF>"]);
    expect(after.endIds).toEqual(before.endIds);
    const json = async (path: string) => {
      const checkpoint = await openCheckpoint(path);
      return checkpoint.tokenizer().finally(() => checkpoint.close());
    };
    const [own, read] = [await json(from), await json(path)];
    expect((read.tokenizer.model as { merges: unknown }).merges).toEqual(
      (own.tokenizer.model as { merges: unknown }).merges,
    );
  });

  it("says where raw texts begin otherwise", async () => {
    const pre_tokenizer = { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false };
    const { notices } = await exported({ normalizer: null, pre_tokenizer });
    expect(notices).toEqual([expect.stringMatching(/raw texts begin with a space here/)]);
  });

  it.each<[string, (tokenizer: { model: { merges: [string, string][] } }) => Record<string, unknown>, RegExp]>([
    [
      "merges that are left out",
      ({ model }) => ({ model: { ...model, merges: model.merges.filter(([left]) => left !== "th") } }),
      /model\.merges: expected every two tokens that make a token/,
    ],
    [
      "merges in another order",
      ({ model }) => ({
        model: { ...model, merges: [...model.merges].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)) },
      }),
      /model\.merges: expected merges in the order of the tokens that they make/,
    ],
    [
      "texts that are lower-cased",
      () => ({ normalizer: { type: "Lowercase" } }),
      /normalizer: expected spaces written as ▁, and nothing else changed, found.*Lowercase/,
    ],
  ])("is refused with %s", async (_, change, message) => {
    const path = join(await writeSentencePieceModel(join(folder, `model-${count++}`)), "tokenizer.json");
    const changes = change(JSON.parse(await readFile(path, "utf8")));
    expect((await failure(exported(changes))).message).toMatch(message);
  });
});

const program = process.env.TENET_LLAMA_SERVER;

describe.skipIf(!program)("llama.cpp's server", () => {
  it("cuts texts and conversations as the tokenizer does, and says the same", async () => {
    const { from, path } = await exported();
    const own = await openLocalModel(from, { device: "cpu", cacheDir: folder });
    const runtime = await startLlamaServer({ program: program!, model: path, context: 512 });
    const prompts = texts
      .filter((text) => text !== "" && !text.includes("<s>"))
      .map((content) => [{ role: "user" as const, content }]);
    const found = await proveExport({ model: own, prompts, runtime, type: "F32", maxTokens: 8 }).finally(async () => {
      await runtime.close();
      await own.close();
    });
    console.log("SentencePiece", { ...found, replies: found.replies.length });
    expect(found).toMatchObject({ samePrompts: prompts.length, faults: [] });
    expect(found.largest).toBeLessThan(1e-2);
  }, 120_000);
});

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  failure,
  SMALL_CONFIG,
  safetensorsBytes,
  tensorsOf,
  withFolder,
  writeTensors,
} from "../../test/checkpoint/build.ts";
import golden from "../../test/checkpoint/gguf.golden.json" with { type: "json" };
import { openCheckpoint } from "./index.ts";

const config = SMALL_CONFIG;
const tensors = { ...tensorsOf(config), "model.norm.weight": { shape: [4], dtype: "BF16" as const } };

async function huggingFace(folder: string, files: Record<string, unknown> = {}): Promise<string> {
  const all = { "config.json": config, "tokenizer.json": { model: {} }, ...files };
  for (const [name, content] of Object.entries(all)) {
    if (content === undefined) continue;
    await writeFile(join(folder, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  await writeTensors(join(folder, "model.safetensors"), tensors);
  return folder;
}

describe("openCheckpoint", () => {
  it("opens a Hugging Face folder, and its weights' path", () =>
    withFolder(async (folder) => {
      await huggingFace(folder, {
        "tokenizer_config.json": { chat_template: "{{ messages }}", eos_token: "</s>" },
        "generation_config.json": { eos_token_id: [2, 7] },
      });
      for (const path of [folder, join(folder, "model.safetensors")]) {
        const checkpoint = await openCheckpoint(path);
        expect(checkpoint.format).toBe("safetensors");
        expect(checkpoint.config).toMatchObject({ model_type: "llama", eos_token_ids: [2, 7] });
        expect(checkpoint.tensors.get("model.norm.weight")).toMatchObject({ dtype: "BF16", shape: [4], bytes: 8 });
        expect(await checkpoint.read("model.norm.weight")).toEqual(Float32Array.of(1, 2, 3, 4));
        expect(checkpoint.chatTemplate).toBe("{{ messages }}");
        expect((await checkpoint.tokenizer()).config.eos_token).toBe("</s>");
        await checkpoint.close();
      }
    }));

  it("takes the chat template from its own file first, or the default of several", () =>
    withFolder(async (folder) => {
      const several = [
        { name: "tool_use", template: "T" },
        { name: "default", template: "D" },
      ];
      await huggingFace(folder, { "tokenizer_config.json": { chat_template: several } });
      const named = await openCheckpoint(folder);
      expect(named.chatTemplate).toBe("D");
      await named.close();
      await writeFile(join(folder, "chat_template.jinja"), "J");
      const own = await openCheckpoint(folder);
      expect(own.chatTemplate).toBe("J");
      await own.close();
    }));

  it("opens shards through their index", () =>
    withFolder(async (folder) => {
      await huggingFace(folder);
      const index = join(folder, "model.safetensors.index.json");
      const weight_map = Object.fromEntries(Object.keys(tensors).map((name) => [name, "model.safetensors"]));
      await writeFile(index, JSON.stringify({ weight_map }));
      const checkpoint = await openCheckpoint(index);
      expect(await checkpoint.read("model.norm.weight")).toEqual(Float32Array.of(1, 2, 3, 4));
      await checkpoint.close();
    }));

  it("opens a GGUF file, whatever its name, and a folder that holds one", () =>
    withFolder(async (folder) => {
      await writeFile(join(folder, "tiny.gguf"), Buffer.from(golden.file, "base64"));
      await mkdir(join(folder, "other"));
      await writeFile(join(folder, "other", "sha256-0"), Buffer.from(golden.file, "base64"));
      for (const path of [folder, join(folder, "tiny.gguf"), join(folder, "other", "sha256-0")]) {
        const checkpoint = await openCheckpoint(path);
        expect(checkpoint.format).toBe("gguf");
        expect(checkpoint.tensors.get("model.embed_tokens.weight")).toMatchObject({ dtype: "Q8_0", shape: [288, 64] });
        expect(await checkpoint.read("model.norm.weight")).toHaveLength(64);
        expect(checkpoint.chatTemplate).toContain("m.content");
        expect(await checkpoint.tokenizer()).toBe(await checkpoint.tokenizer());
        await checkpoint.close();
      }
    }));

  it("reads weights without a tokenizer, and says so when it is asked for", () =>
    withFolder(async (folder) => {
      const checkpoint = await openCheckpoint(await huggingFace(folder, { "tokenizer.json": undefined }));
      expect(checkpoint.chatTemplate).toBeUndefined();
      expect((await failure(checkpoint.tokenizer())).expected).toBe("tokenizer.json");
      await checkpoint.close();
    }));

  it.each<[string, Record<string, string | Uint8Array>, string, RegExp]>([
    ["nothing there", {}, "none", /nothing at this path/],
    ["an empty folder", {}, "", /found none of them.*pytorch_model\.bin/],
    ["two GGUF files", { "a.gguf": "", "b.gguf": "" }, "", /"a.gguf", "b.gguf".*path of the file/],
    [
      "weights without a config",
      { "model.safetensors": safetensorsBytes({}) },
      "",
      /config\.json: .*nothing at this path/,
    ],
    ["a config that is no JSON", { "config.json": "{", "model.safetensors": "" }, "", /config\.json: expected JSON/],
    ["a config that is a list", { "config.json": "[]", "model.safetensors": "" }, "", /a JSON object/],
    [
      "another architecture",
      { "config.json": '{"model_type":"bert"}', "model.safetensors": "" },
      "",
      /one of llama, .*"bert"/,
    ],
    ["empty weights", { "config.json": JSON.stringify(config), "model.safetensors": "" }, "", /end of the file/],
    ["an empty GGUF file", { "a.gguf": "" }, "a.gguf", /4 more bytes/],
  ])("says what is wrong: %s", (_, files, path, message) =>
    withFolder(async (folder) => {
      for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
      expect((await failure(openCheckpoint(join(folder, path)))).message).toMatch(message);
    }),
  );
});

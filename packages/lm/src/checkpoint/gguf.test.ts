import { createHash } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { as, failure, type GgufTensorSpec, ggufBytes, SMALL_MODEL, withFile } from "../../test/checkpoint/build.ts";
import golden from "../../test/checkpoint/gguf.golden.json" with { type: "json" };
import { openGguf } from "./gguf.ts";
import { huggingFaceName, interleavedHeads, unpermute } from "./gguf-names.ts";

const digest = (values: Float32Array) => createHash("sha256").update(values).digest("hex");

describe("a file that llama.cpp's writer made", () => {
  const tiny = Buffer.from(golden.file, "base64");

  it("has its tensors under Hugging Face's names, dequantised, rows of q and k put back", () =>
    withFile(tiny, async (path) => {
      const file = await openGguf(path);
      expect([...file.tensors.keys()].sort()).toEqual(Object.keys(golden.tensors).sort());
      for (const [name, { shape, dtype, sha256 }] of Object.entries(golden.tensors)) {
        expect(file.tensors.get(name), name).toMatchObject({ shape, type: dtype });
        expect(digest(await file.read(name)), name).toBe(sha256);
      }
      const name = "model.layers.0.self_attn.q_proj.weight";
      const target = new Float32Array(64 * 64 + 2);
      await file.readInto(name, target.subarray(1, -1));
      expect(digest(target.slice(1, -1))).toBe(golden.tensors[name].sha256);
      expect((await failure(file.read("lm_head.weight"))).found).toContain("none");
      expect((await failure(file.readInto(name, target))).expected).toContain("4096");
      await file.close();
    }));

  it("has the config in Hugging Face's terms", () =>
    withFile(tiny, async (path) => {
      const file = await openGguf(path);
      expect(file.config).toEqual({
        model_type: "llama",
        hidden_size: 64,
        intermediate_size: 96,
        num_hidden_layers: 1,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 16,
        vocab_size: 288,
        max_position_embeddings: 128,
        rms_norm_eps: 1e-5,
        rope_theta: 100_000,
        rope_scaling: null,
        tie_word_embeddings: true,
        attention_bias: false,
        mlp_bias: false,
        sliding_window: null,
        max_window_layers: null,
        bos_token_id: 1,
        eos_token_ids: [0],
        pad_token_id: null,
      });
      await file.close();
    }));
});

describe("names", () => {
  it("map both ways known, and no others", () => {
    expect(huggingFaceName("token_embd.weight")).toBe("model.embed_tokens.weight");
    expect(huggingFaceName("output.weight")).toBe("lm_head.weight");
    expect(huggingFaceName("blk.12.attn_output.weight")).toBe("model.layers.12.self_attn.o_proj.weight");
    expect(huggingFaceName("blk.0.attn_q.bias")).toBe("model.layers.0.self_attn.q_proj.bias");
    expect(huggingFaceName("blk.0.attn_k_norm.weight")).toBe("model.layers.0.self_attn.k_norm.weight");
    for (const other of ["blk.0.output.weight", "attn_q.weight", "blk.00.attn_q.weight", "constructor.weight", "x"]) {
      expect(huggingFaceName(other), other).toBeUndefined();
    }
  });

  it("say which rows are interleaved", () => {
    const heads = { num_attention_heads: 8, num_key_value_heads: 2 };
    expect(interleavedHeads("llama", "blk.0.attn_q.weight", heads)).toBe(8);
    expect(interleavedHeads("mistral", "blk.0.attn_k.bias", heads)).toBe(2);
    expect(interleavedHeads("llama", "blk.0.attn_v.weight", heads)).toBeUndefined();
    expect(interleavedHeads("qwen2", "blk.0.attn_q.weight", heads)).toBeUndefined();
    expect(interleavedHeads("llama", "blk.0.attn_q_norm.weight", heads)).toBeUndefined();
  });

  it("put the rows of each head back: evens first, then odds", () => {
    expect(Array.from({ length: 12 }, (_, row) => unpermute(row, 6))).toEqual([0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
  });
});

describe("rope scaling", () => {
  const opened = (metadata: Record<string, Buffer>, bytes = ggufBytes({ metadata: { ...SMALL_MODEL, ...metadata } })) =>
    withFile(bytes, async (path) => {
      const file = await openGguf(path);
      await file.close();
      return file;
    });

  it("comes from metadata", async () => {
    const yarn = await opened({
      "llama.rope.scaling.type": as.string("yarn"),
      "llama.rope.scaling.factor": as.f32(4),
      "llama.rope.scaling.original_context_length": as.u32(32768),
    });
    expect(yarn.config.rope_scaling).toMatchObject({
      rope_type: "yarn",
      factor: 4,
      original_max_position_embeddings: 32768,
    });
    expect((await opened({ "llama.rope.scaling.type": as.string("none") })).config.rope_scaling).toBeNull();
    const unknown = await failure(opened({ "llama.rope.scaling.type": as.string("longrope") }));
    expect(unknown.message).toMatch(/one of default, linear, .*, found "longrope"/);
  });

  it("comes from the factors' tensor, which is not listed", async () => {
    const metadata = { ...SMALL_MODEL, "llama.attention.key_length": as.u32(4) };
    const bytes = ggufBytes({ metadata, tensors: [{ name: "rope_freqs.weight", dimensions: [2] }] });
    bytes.set(new Uint8Array(Float32Array.of(1, 8).buffer), bytes.length - 4096);
    const file = await opened({}, bytes);
    expect(file.config.rope_scaling).toEqual({ rope_type: "frequency_factors", factors: [1, 8] });
    expect(file.tensors.size).toBe(0);
  });
});

describe("types of tensors", () => {
  const types = (type: number) => ggufBytes({ tensors: [{ name: "w", dimensions: [256, 1], type }] });

  it("reads the K and the 4-bit I types", async () => {
    for (const [type, name, bytes] of [
      [10, "Q2_K", 84],
      [11, "Q3_K", 110],
      [20, "IQ4_NL", 8 * 18],
      [23, "IQ4_XS", 136],
    ] as const)
      await withFile(types(type), async (path) => {
        const file = await openGguf(path);
        expect(file.tensors.get("w")).toMatchObject({ type: name, bytes });
        expect((await file.read("w")).filter((value) => value === 0)).toHaveLength(256);
        await file.close();
      });
  });

  it.each([
    [16, "IQ2_XXS"],
    [17, "IQ2_XS"],
    [18, "IQ3_XXS"],
    [19, "IQ1_S"],
    [21, "IQ3_S"],
    [22, "IQ2_S"],
    [29, "IQ1_M"],
  ])("refuses number %i as %s, with what to take instead", async (type, name) => {
    const error = await withFile(types(type), (path) => failure(openGguf(path)));
    expect(error.found).toBe(name);
    expect(error.fix).toMatch(/packs by a codebook.*IQ4_XS and Q2_K are the smallest/);
  });

  it.each([
    [34, "TQ1_0"],
    [39, "MXFP4"],
    [40, "NVFP4"],
    [99, "number 99"],
  ])("refuses number %i as %s", async (type, name) => {
    expect((await withFile(types(type), (path) => failure(openGguf(path)))).found).toBe(name);
  });
});

describe("hostile files", () => {
  const fails = (bytes: Uint8Array) => withFile(bytes, (path) => failure(openGguf(path)));
  const metadata = (more: Record<string, Buffer>) => ggufBytes({ metadata: { ...SMALL_MODEL, ...more } });
  const tensors = (...list: GgufTensorSpec[]) => ggufBytes({ tensors: list });
  const w = { name: "w", dimensions: [4, 4] };

  it.each<[string, Uint8Array, RegExp]>([
    ["an empty file", Buffer.alloc(0), /expected 4 more bytes, found 0 in the file/],
    ["another magic", ggufBytes({ magic: "GGML" }), /expected "GGUF", found 0x4c4d4747/],
    ["version 1", ggufBytes({ version: 1 }), /2 or 3, little-endian, found 1/],
    ["a big-endian file", ggufBytes({ version: 0x03000000 }), /found a big-endian file/],
    ["a cut header", ggufBytes().subarray(0, 60), /cut short|there is room/],
    ["2^64 - 1 tensors", ggufBytes({ tensorCount: 2n ** 64n - 1n }), /number of tensors.*found 18446744073709551615/],
    ["a billion tensors", ggufBytes({ tensorCount: 10n ** 9n }), /at most 100000, found 1000000000/],
    ["a billion metadata pairs", ggufBytes({ pairCount: 10n ** 9n }), /metadata pairs.*at most 65536/],
    ["more tensors than fit", ggufBytes({ tensorCount: 1000n }), /tensors.*for which there is room, found 1000/],
    ["more pairs than there are", ggufBytes({ pairCount: 40n }), /expected/],
    ["an endless string", metadata({ x: as.raw(8, Buffer.alloc(8, 0xff)) }), /metadata "x".*at most 2\^53/],
    [
      "a string of 9 MB in a small file",
      metadata({ x: as.raw(8, Buffer.from([0, 0, 144, 0, 0, 0, 0, 0])) }),
      /9437184 more bytes/,
    ],
    [
      "a string of 1 GB",
      metadata({ x: as.raw(8, Buffer.from([0, 0, 0, 64, 0, 0, 0, 0])) }),
      /text of at most 10000000 bytes/,
    ],
    ["an array of arrays", metadata({ x: as.arrayClaim(9, 1) }), /found an array of arrays/],
    ["an array of 2^40 bytes", metadata({ x: as.arrayClaim(0, 2 ** 40) }), /there is room, found 1099511627776/],
    ["an array of 2^32 strings", metadata({ x: as.arrayClaim(8, 2 ** 32) }), /there is room/],
    ["an array of 2^61 doubles", metadata({ x: as.arrayClaim(12, 2n ** 61n) }), /2\^53/],
    ["an array of an unknown type", metadata({ x: as.arrayClaim(13, 1) }), /an element type from 0 to 12, found 13/],
    ["a value of an unknown type", metadata({ x: as.raw(99) }), /a value type from 0 to 12, found 99/],
    ["alignment 0", metadata({ "general.alignment": as.u32(0) }), /a power of two, found 0/],
    ["alignment 24", metadata({ "general.alignment": as.u32(24) }), /a power of two, found 24/],
    ["an alignment that is text", metadata({ "general.alignment": as.string("32") }), /a power of two, found "32"/],
    ["five dimensions", tensors({ name: "w", dimensions: [1, 1, 1, 1, 1] }), /at most 4 dimensions, found 5/],
    [
      "a dimension of 2^63",
      tensors({ name: "w", dimensions: [2n ** 63n] }),
      /at most 2\^53, found 9223372036854775808/,
    ],
    ["a product beyond 2^53", tensors({ name: "w", dimensions: [2n ** 30n, 2n ** 30n] }), /2\^53 numbers/],
    ["a tensor past the end", tensors({ name: "w", dimensions: [4, 2 ** 30] }), /data within the file's/],
    ["an offset past the end", tensors({ ...w, offset: 2 ** 40 }), /data within the file's/],
    ["an offset beyond 2^53", tensors({ ...w, offset: 2n ** 62n }), /at most 2\^53/],
    ["an unaligned offset", tensors({ ...w, offset: 8 }), /an offset on a multiple of 32, found 8/],
    [
      "overlap",
      tensors(w, { name: "v", dimensions: [4, 4], offset: 32 }),
      /tensor "v".*data after byte \d+, where tensor "w" ends/,
    ],
    ["a name twice", tensors(w, w), /each name once/],
    [
      "one tensor under two names",
      tensors({ ...w, name: "output.weight" }, { ...w, name: "lm_head.weight" }),
      /another called "lm_head.weight"/,
    ],
    ["a type that is not read", tensors({ ...w, type: 22 }), /a type of F32, .*Q6_K, .*BF16, found IQ2_S/],
    ["an unknown type", tensors({ ...w, type: 4 }), /found number 4/],
    [
      "rows that are no whole blocks",
      tensors({ name: "w", dimensions: [33, 2], type: 8 }),
      /rows of whole blocks of 32 \(Q8_0\), found rows of 33/,
    ],
    [
      "q rows that are no whole heads",
      tensors({ name: "blk.0.attn_q.weight", dimensions: [4, 6] }),
      /rows in 2 heads of an even size/,
    ],
    ["q with three dimensions", tensors({ name: "blk.0.attn_q.weight", dimensions: [4, 4, 4] }), /rows in 2 heads/],
    [
      "endless frequency factors",
      tensors({ name: "rope_freqs.weight", dimensions: [8192], offset: 0 }),
      /within the file's|at most 4096/,
    ],
    ["one part of several", metadata({ "split.count": as.u32(3) }), /found one of 3 parts.*llama-gguf-split/],
    [
      "an unknown architecture",
      metadata({ "general.architecture": as.string("gpt2") }),
      /one of llama, mistral, qwen2, qwen3.*found "gpt2"/,
    ],
    ["no architecture", ggufBytes({ metadata: {} }), /one of llama/],
    ["no heads", metadata({ "llama.attention.head_count": as.u32(0) }), /num_attention_heads/],
    ["endless layers", metadata({ "llama.block_count": as.u32(2 ** 32 - 1) }), /num_hidden_layers.*10000/],
    ["heads that are a list", metadata({ "llama.attention.head_count": as.i32s([2]) }), /num_attention_heads/],
  ])("%s", async (_, bytes, message) => {
    expect((await fails(bytes)).message).toMatch(message);
  });

  it("gives up on a header of more than 100 MB", () =>
    withFile(metadata({ x: as.arrayClaim(8, 12) }), async (path) => {
      // Twelve strings of nine million bytes each, in a file that is mostly a hole.
      const file = await open(path, "r+");
      const start = (await readFile(path)).indexOf(as.arrayClaim(8, 12)) + 16;
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(9_000_000n);
      for (let i = 0; i < 12; i++) await file.write(length, 0, 8, start + i * 9_000_008);
      await file.truncate(120_000_000);
      await file.close();
      expect((await failure(openGguf(path))).expected).toBe("a header of at most 100000000 bytes");
    }));

  it("refuses a metadata key that comes twice", async () => {
    const bytes = metadata({ "general.namea": as.u32(1), "general.nameb": as.u32(2) });
    bytes[bytes.indexOf("general.nameb") + 12] = "a".charCodeAt(0);
    expect((await fails(bytes)).message).toMatch(/metadata "general.namea".*each key once/);
  });

  it("treats keys of Object's own properties as keys", () =>
    withFile(metadata({ __proto: as.u32(1), ["__proto__"]: as.u32(7), constructor: as.u32(8) }), async (path) => {
      const file = await openGguf(path);
      expect(file.metadata.get("__proto__")).toBe(7);
      expect(file.metadata.get("constructor")).toBe(8);
      expect(file.config.hidden_size).toBe(4);
      await file.close();
    }));
});

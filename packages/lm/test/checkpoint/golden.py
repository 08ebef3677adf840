"""Reference values for the checkpoint readers, from the Python packages `gguf` and `safetensors`.

Run:  pip install gguf==0.19.0 safetensors==0.8.0 numpy==2.4.6 ml_dtypes==0.6.0
      python golden.py          # writes the three *.golden.json beside this file

quants       blocks of every type that is read, and what gguf.dequantize makes of them
safetensors  files written by the reference implementation: one to read, one to be reproduced byte for byte
gguf         a tiny llama written by gguf.GGUFWriter, with its tensors as Hugging Face has them
"""

import base64
import json
import tempfile
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.numpy import save as save_safetensors

HERE = Path(__file__).parent
VERSIONS = {name: version(name) for name in ("gguf", "safetensors", "numpy", "ml_dtypes")}
rng = np.random.default_rng(20260101)
b64 = lambda data: base64.b64encode(bytes(data)).decode()
f32_bytes = lambda array: np.ascontiguousarray(array, dtype="<f4").tobytes()
f32 = lambda array: b64(f32_bytes(array))


def save(name, content):
    path = HERE / f"{name}.golden.json"
    path.write_text(json.dumps({"versions": VERSIONS, **content}, indent=1) + "\n")
    print(path.name, path.stat().st_size, "bytes")


# Where the float16 scales stand in a block; the rest of a block may be any bytes.
SCALES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}
# Types that came later, with numbers of their own: those of the others stay what they were.
LATER = {T.Q2_K: [80, 82], T.Q3_K: [108], T.IQ4_NL: [0], T.IQ4_XS: [0]}
later_rng = np.random.default_rng(20260202)
# Zero of both signs, the smallest subnormal, subnormals, ordinary ones, the largest.
EDGES = np.array([0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF], dtype="<u2")


def random_blocks(qtype, count, rng=rng):
    size = gguf.GGML_QUANT_SIZES[qtype][1]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in {**SCALES, **LATER}[qtype]:
        scales = rng.normal(0, 0.01, count).astype("<f2").view("<u2")
        scales[: min(count, len(EDGES))] = rng.permutation(EDGES)[:count]
        blocks[:, at : at + 2] = scales.view(np.uint8).reshape(count, 2)
    return blocks.reshape(-1)


def quants():
    cases = []
    for qtype in (T.F32, T.F16, T.BF16, *SCALES):
        block, size = gguf.GGML_QUANT_SIZES[qtype]
        sources = {}
        try:
            weights = rng.normal(0, 0.05, (4, 256)).astype(np.float32)
            sources["reference quantiser"] = gguf.quantize(weights, qtype).reshape(-1).view(np.uint8)
        except NotImplementedError:
            pass
        if qtype in SCALES:
            sources["random blocks"] = random_blocks(qtype, 24 if block == 32 else 12)
        if qtype in (T.F16, T.BF16):
            sources["all exponents"] = np.arange(0, 65536, 53, dtype="<u2").view(np.uint8)
        for source, data in sources.items():
            with np.errstate(over="ignore", invalid="ignore"):
                values = gguf.dequantize(data, qtype)
            cases.append({"type": qtype.name, "source": source, "blocks": b64(data), "values": f32(values)})
    for qtype in LATER:
        data = random_blocks(qtype, 24 if gguf.GGML_QUANT_SIZES[qtype][0] == 32 else 12, later_rng)
        with np.errstate(over="ignore", invalid="ignore"):
            values = gguf.dequantize(data, qtype)
        cases.append({"type": qtype.name, "source": "random blocks", "blocks": b64(data), "values": f32(values)})
    save("quants", {"cases": cases})


def safetensors_files():
    x = rng.normal(0, 1, (3, 5)).astype("<f4")
    edge = np.array([0, -0.0, 1, -2, 65504, 65520, 1e9, 1e-8, 6e-8, 2.98e-8, 2.0**-25, 6.1e-5, np.inf, -np.inf, np.nan], "<f4")
    edge = np.concatenate([edge, rng.normal(0, 1e-5, 9).astype("<f4"), 1 + rng.random(10).astype("<f4") / 512])
    with np.errstate(over="ignore"):
        arrays = {
            "model.weight": x,
            "half.edge": edge.astype("<f2"),
            "brain.edge": edge.astype(ml_dtypes.bfloat16),
            "half": x.astype("<f2"),
            "brain": x.astype(ml_dtypes.bfloat16),
            "scalar": np.array(0.5, "<f4"),
            "empty": np.zeros((0, 4), "<f4"),
            "é.naïve \"quoted\" 日本": x[:1],
        }
    source = lambda name, array: edge if name.endswith("edge") else x if array.shape == x.shape else array
    metadata = {"format": "pt"}
    floats = save_safetensors(arrays, metadata)
    others = {
        "ids": np.arange(4, dtype="<i8"),
        "mask": np.array([True, False, True]),
        "bytes": np.arange(5, dtype=np.uint8),
        "double": x.astype("<f8"),
        "x": x,
    }
    save(
        "safetensors",
        {
            "floats": b64(floats),
            "metadata": metadata,
            # What a writer is given to produce `floats`, rounding by itself.
            "inputs": {name: f32(source(name, array)) for name, array in arrays.items()},
            "values": {name: f32(array.astype("<f4")) for name, array in arrays.items()},
            "mixed": b64(save_safetensors(others)),
        },
    )


def permute(weights, heads):
    """Rows of q and k as convert_hf_to_gguf.py orders them for llama: halves of a head interleaved."""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def tiny_gguf():
    hidden, inter, heads, kv_heads, head_dim, vocab = 64, 96, 4, 2, 16, 288
    byte_tokens = gguf_bytes()
    tokens = ["<|end|>", "<|start|>", *byte_tokens, "Ġa", "the", "th", "Ġ<tool>", "__proto__", "[PAD]"]
    tokens += [f"[UNUSED{i}]" for i in range(vocab - len(tokens))]
    kinds = [3, 3] + [1] * 256 + [1, 1, 1, 4, 1, 5] + [5] * (vocab - 264)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        w = gguf.GGUFWriter(path, "llama")
        w.add_context_length(128)
        w.add_embedding_length(hidden)
        w.add_block_count(1)
        w.add_feed_forward_length(inter)
        w.add_head_count(heads)
        w.add_head_count_kv(kv_heads)
        w.add_layer_norm_rms_eps(1e-5)
        w.add_rope_freq_base(100000.0)
        w.add_rope_dimension_count(head_dim)
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre("smollm")
        w.add_token_list(tokens)
        w.add_token_types(kinds)
        w.add_token_merges(["Ġ a", "t h", "th e"])
        w.add_bos_token_id(1)
        w.add_eos_token_id(0)
        w.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
        shapes = {
            "token_embd.weight": ("model.embed_tokens.weight", (vocab, hidden), T.Q8_0),
            "output_norm.weight": ("model.norm.weight", (hidden,), T.F32),
            "blk.0.attn_norm.weight": ("model.layers.0.input_layernorm.weight", (hidden,), T.F32),
            "blk.0.attn_q.weight": ("model.layers.0.self_attn.q_proj.weight", (heads * head_dim, hidden), T.Q4_1),
            "blk.0.attn_k.weight": ("model.layers.0.self_attn.k_proj.weight", (kv_heads * head_dim, hidden), T.F16),
            "blk.0.attn_v.weight": ("model.layers.0.self_attn.v_proj.weight", (kv_heads * head_dim, hidden), T.Q5_0),
            "blk.0.attn_output.weight": ("model.layers.0.self_attn.o_proj.weight", (hidden, heads * head_dim), T.BF16),
            "blk.0.ffn_norm.weight": ("model.layers.0.post_attention_layernorm.weight", (hidden,), T.F32),
            "blk.0.ffn_gate.weight": ("model.layers.0.mlp.gate_proj.weight", (inter, hidden), T.Q4_0),
            "blk.0.ffn_up.weight": ("model.layers.0.mlp.up_proj.weight", (inter, hidden), T.Q5_1),
            "blk.0.ffn_down.weight": ("model.layers.0.mlp.down_proj.weight", (hidden, inter), T.Q8_0),
        }
        expected = {}
        for stored, (name, shape, qtype) in shapes.items():
            weights = rng.normal(0, 0.05, shape).astype(np.float32)
            own = gguf.dequantize(gguf.quantize(weights, qtype), qtype)
            order = heads if "attn_q." in stored else kv_heads if "attn_k." in stored else None
            data = gguf.quantize(weights if order is None else permute(weights, order), qtype)
            w.add_tensor(stored, data, raw_dtype=qtype)
            expected[name] = {"shape": list(shape), "dtype": qtype.name, "sha256": sha256(f32_bytes(own)).hexdigest()}
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
        save("gguf", {"file": b64(path.read_bytes()), "tensors": expected})


def gguf_bytes():
    """GPT-2's printable stand-ins for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    stand_ins = {b: chr(b) for b in printable}
    for b in range(256):
        if b not in stand_ins:
            stand_ins[b] = chr(256 + len(stand_ins) - len(printable))
    return [stand_ins[b] for b in range(256)]


quants()
safetensors_files()
tiny_gguf()

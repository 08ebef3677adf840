"""Writes families/*.golden.json: a small random checkpoint of every family and its logits, as transformers computes them.

    pip install torch==2.13.0 transformers==5.23.0
    python packages/lm/test/golden/families.py

Each file holds config.json as transformers writes it, the weights (base64 of little-endian float16: the values are exact
in it), token ids, and logits computed in float64 (transformers rounds norms and angles to float32 inside).
families/rotary.golden.json holds frequencies and attention factors of rope scalings alone, for more settings.
"""

import base64
import json
import os
import pathlib
import platform
from importlib.metadata import version

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is loaded from there

import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

FOLDER = pathlib.Path(__file__).with_name("families")
ROWS, TIME = 2, 24
SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}


def rope(kind="default", theta=100.0, **rest):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **rest}}


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
YARN = {"factor": 4.0, "beta_fast": 8.0, "original_max_position_embeddings": 64}
CASES = {
    "llama-tied": ("Llama", {"tie_word_embeddings": True}),
    "llama-untied": ("Llama", {"tie_word_embeddings": False, **rope(theta=500.0)}),
    "llama-biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-rope-linear": ("Llama", rope("linear", factor=4.0)),
    "llama-rope-dynamic": ("Llama", {"max_position_embeddings": 16, **rope("dynamic", factor=4.0)}),
    "llama-rope-llama3": ("Llama", rope("llama3", **LLAMA3)),
    "llama-rope-yarn": ("Llama", rope("yarn", **YARN)),
    "mistral": ("Mistral", {"sliding_window": 7, "head_dim": 8}),
    "qwen2": ("Qwen2", {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
}
SCALINGS = [
    rope("linear", factor=2.5),
    rope("dynamic", factor=2.0),
    rope("llama3", theta=500000.0, **LLAMA3 | {"original_max_position_embeddings": 8192}),
    rope("llama3", **LLAMA3),
    rope("yarn", theta=10000.0, factor=16.0, original_max_position_embeddings=4096),
    rope("yarn", theta=10000.0, factor=16.0, original_max_position_embeddings=4096, truncate=False),
    rope("yarn", attention_factor=0.8, **YARN),
    rope("yarn", **YARN | {"beta_slow": 2.0}, mscale=0.7, mscale_all_dim=1.2),
    rope("yarn", **YARN | {"factor": 0.5}),
]

base64_of = lambda tensor, kind: base64.b64encode(tensor.detach().numpy().astype(kind).tobytes()).decode()


def save(name, content):
    path = FOLDER / f"{name}.golden.json"
    versions = {"python": platform.python_version(), "torch": version("torch"), "transformers": transformers.__version__}
    header = {"made_by": "packages/lm/test/golden/families.py", "versions": versions}
    path.write_text(json.dumps({**header, **content}, allow_nan=False) + "\n")
    print(path.name, path.stat().st_size // 1000, "kB")


def family(name, kind, settings, generator):
    config = getattr(transformers, f"{kind}Config")(**{**SMALL, **rope(), **settings}, attn_implementation="sdpa")
    model = getattr(transformers, f"{kind}ForCausalLM")(config).double().eval()
    weights = {}
    for path, value in model.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        value.data.copy_((1 + 0.1 * noise if "norm" in path else 0.2 * noise).half())
        weights[path] = {"shape": list(value.shape), "data": base64_of(value, "<f2")}
    tokens = torch.randint(0, SMALL["vocab_size"], (ROWS, TIME), generator=generator)
    with torch.no_grad():
        logits = model(tokens, use_cache=False).logits
    config.architectures = [type(model).__name__]
    save(
        name,
        {
            "config": json.loads(config.to_json_string(use_diff=True)),
            "weights": weights,
            "tokens": {"shape": list(tokens.shape), "data": base64_of(tokens, "<i4")},
            "logits": {"shape": list(logits.shape), "data": base64_of(logits, "<f4")},
        },
    )


def scaling(settings, length):
    config = transformers.LlamaConfig(**{**SMALL, "max_position_embeddings": 256}, **settings, head_dim=64)
    kind = settings["rope_parameters"]["rope_type"]
    frequencies, factor = ROPE_INIT_FUNCTIONS[kind](config, seq_len=length)
    raw = json.loads(config.to_json_string(use_diff=True))
    return {"config": raw, "length": length, "frequencies": frequencies.tolist(), "attentionFactor": float(factor)}


FOLDER.mkdir(exist_ok=True)
for seed, (name, (kind, settings)) in enumerate(CASES.items()):
    family(name, kind, settings, torch.Generator().manual_seed(seed))
save("rotary", {"cases": [scaling(settings, length) for settings in SCALINGS for length in (100, 700)]})

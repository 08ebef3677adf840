"""Writes adapter-kinds.golden.json: LoRA adapters of the kinds that PEFT knows, on a checkpoint of families.py.

    apt-get install python3-torch   # 1.13.1+dfsg-4, for the CPU; it calls itself 1.13.0a0
    pip install transformers==4.46.3 peft==0.21.2 safetensors==0.8.0
    python packages/lm/test/golden/families.py
    python packages/lm/test/golden/adapter_kinds.py

Each has random factors (B too, so that every module counts), its folder as PEFT saves it (base64), and in float64: logits,
and the gradient of the mean negative log-likelihood by one factor of each adapted module. `scales` and `ranks` are what
PEFT's layers hold. (transformers 4 reads rope_theta where 5 writes rope_parameters; the base's logits are checked first.)
"""

import base64
import json
import os
import pathlib
import platform
import tempfile
from importlib.metadata import version

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is loaded from there

import numpy
import peft
import torch
import torch.nn.functional as F
import transformers

HERE = pathlib.Path(__file__).parent
FAMILY = "llama-untied"
family = json.loads((HERE / "families" / f"{FAMILY}.golden.json").read_text())

base64_of = lambda tensor, kind: base64.b64encode(tensor.detach().numpy().astype(kind).tobytes()).decode()
stored = lambda tensor, kind: {"shape": list(tensor.shape), "data": base64_of(tensor, kind)}
read = lambda entry, kind: torch.from_numpy(
    numpy.frombuffer(base64.b64decode(entry["data"]), kind).reshape(entry["shape"]).copy()
)


def base():
    settings = {**family["config"], "rope_theta": family["config"]["rope_parameters"]["rope_theta"]}
    settings.pop("rope_parameters")
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings)).double().eval()
    own = dict(model.named_parameters())
    for name, weight in family["weights"].items():
        own[name].data.copy_(read(weight, "<f2").double())
    return model


tokens = read(family["tokens"], "<i4").long()
with torch.no_grad():
    assert (base()(tokens).logits - read(family["logits"], "<f4")).abs().max() < 1e-5, "another base than families.py's"

ATTENTION = ["q_proj", "v_proj"]
KINDS = {
    "rslora": dict(target_modules=ATTENTION, r=4, lora_alpha=8, use_rslora=True),
    "pattern of one layer": dict(target_modules=r".*\.1\.(self_attn\.(q|o)_proj|mlp\.down_proj)", r=3, lora_alpha=6),
    "all-linear": dict(target_modules="all-linear", r=2, lora_alpha=6),
    "full paths": dict(
        target_modules=["model.layers.0.self_attn.q_proj", "layers.1.mlp.up_proj", "o_proj"], r=2, lora_alpha=2
    ),
    "layers_to_transform": dict(target_modules=[*ATTENTION, "gate_proj"], layers_to_transform=[1], r=2, lora_alpha=4),
    "exclude_modules": dict(target_modules=[*ATTENTION, "down_proj"], exclude_modules=["layers.0.self_attn.q_proj"], r=2, lora_alpha=4),
    "rank_pattern": dict(target_modules=[*ATTENTION, "up_proj"], r=4, lora_alpha=8, rank_pattern={"v_proj": 2, "layers.1.mlp.up_proj": 6}),
    "alpha_pattern": dict(target_modules=ATTENTION, r=4, lora_alpha=8, alpha_pattern={r"layers\.0\..*": 2, "v_proj": 32}),
    "first of several patterns": dict(
        target_modules=ATTENTION, r=4, lora_alpha=8,
        rank_pattern={r"model\.layers\.1\.self_attn\.\w_proj": 3, "q_proj": 5}, alpha_pattern={"^model.layers.0.self_attn.v_proj": 1},
    ),
    "rslora with patterns": dict(
        target_modules=[*ATTENTION, "down_proj"], r=4, lora_alpha=8, use_rslora=True,
        rank_pattern={"q_proj": 9}, alpha_pattern={"down_proj": 3},
    ),
    "fan_in_fan_out": dict(target_modules=ATTENTION, r=2, lora_alpha=4, fan_in_fan_out=True),
    "a gap in every pattern": dict(target_modules=ATTENTION, r=2, lora_alpha=4, rank_pattern={"proj": 3}, alpha_pattern={"_proj": 3}),
}


def kind(index, settings):
    generator = torch.Generator().manual_seed(100 + index)
    model = peft.get_peft_model(base(), peft.LoraConfig(task_type="CAUSAL_LM", **settings)).double().eval()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.2
            parameter.data.copy_(values.float())  # what is saved as float32 is what is measured
    layers = {
        name.removeprefix("base_model.model."): module
        for name, module in model.named_modules()
        if hasattr(module, "scaling") and "default" in getattr(module, "lora_A", {})
    }
    logits = model(tokens).logits
    F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    gradients = {
        f"{name}.lora_{'A' if at % 2 else 'B'}.weight": getattr(module, "lora_A" if at % 2 else "lora_B")["default"].weight.grad
        for at, (name, module) in enumerate(layers.items())
    }
    with tempfile.TemporaryDirectory() as folder:
        model.float().save_pretrained(folder)
        names = ("adapter_config.json", "adapter_model.safetensors")
        files = {name: base64.b64encode((pathlib.Path(folder) / name).read_bytes()).decode() for name in names}
    return {
        "files": files,
        "scales": {name: module.scaling["default"] for name, module in layers.items()},
        "ranks": {name: module.r["default"] for name, module in layers.items()},
        "logits": stored(logits[0, -3:], "<f4"),  # the last positions of one row: they depend on all before
        "gradients": {name: stored(gradient, "<f4") for name, gradient in gradients.items()},
    }


content = {
    "made_by": "packages/lm/test/golden/adapter_kinds.py",
    "versions": {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in ("transformers", "peft", "safetensors")},
    },
    "family": FAMILY,
    "kinds": {name: kind(index, settings) for index, (name, settings) in enumerate(KINDS.items())},
}
path = HERE / "adapter-kinds.golden.json"
path.write_text(json.dumps(content, allow_nan=False) + "\n")
print(path.name, path.stat().st_size // 1000, "kB")

"""Writes adapter.golden.json: adapters as PEFT trains and saves them, on a checkpoint of families.py.

    pip install torch==2.13.0 transformers==5.23.0 peft==0.21.2
    python packages/lm/test/golden/families.py
    python packages/lm/test/golden/adapter.py

- causal: LoRA on some projections of a language model, trained for 20 steps; its folder (base64) and logits.
- classifier: LoRA and a scalar head (sequence classification with one label), trained for 20 steps with a preference
  loss; its folder, scores of right-padded rows, the loss -log sigmoid(first - second) and its gradients.
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
STEPS, PAD = 20, 2
family = json.loads((HERE / "families" / f"{FAMILY}.golden.json").read_text())
generator = torch.Generator().manual_seed(7)

base64_of = lambda tensor, kind: base64.b64encode(tensor.detach().numpy().astype(kind).tobytes()).decode()
stored = lambda tensor, kind: {"shape": list(tensor.shape), "data": base64_of(tensor, kind)}


def base(kind):
    config = transformers.LlamaConfig(**family["config"] | {"num_labels": 1, "pad_token_id": PAD})
    model = getattr(transformers, kind)(config).double().eval()
    own = dict(model.named_parameters())
    for name, weight in family["weights"].items():
        values = numpy.frombuffer(base64.b64decode(weight["data"]), "<f2").reshape(weight["shape"])
        if name in own:
            own[name].data.copy_(torch.from_numpy(values.astype("f8")))
    return model


def tokens(rows, time):
    return torch.randint(3, family["config"]["vocab_size"], (rows, time), generator=generator)


def train(model, loss, rate):
    torch.manual_seed(3)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    for parameter in model.parameters():  # what is saved as float32 is what is measured
        if parameter.requires_grad:
            parameter.data.copy_(parameter.data.float())


def folder_of(model):
    with tempfile.TemporaryDirectory() as folder:
        exact = {name: p.dtype for name, p in model.named_parameters()}
        model.float().save_pretrained(folder)
        for name, parameter in model.named_parameters():
            parameter.data = parameter.data.to(exact[name])
        files = ("adapter_config.json", "adapter_model.safetensors")
        return {name: base64.b64encode((pathlib.Path(folder) / name).read_bytes()).decode() for name in files}


def causal():
    lora = peft.LoraConfig(
        r=4, lora_alpha=12, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM", lora_dropout=0.05
    )
    model = peft.get_peft_model(base("LlamaForCausalLM"), lora).double().eval()
    batch = tokens(2, 20)
    before = model(batch).logits
    train(model, lambda: model(batch, labels=batch).loss, 2e-2)
    files = folder_of(model)
    logits = model.double()(batch).logits
    return {
        "files": files,
        "tokens": stored(batch, "<i4"),
        "logits": stored(logits, "<f4"),
        "changed": (logits - before).abs().max().item(),
    }


def classifier():
    lora = peft.LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", task_type="SEQ_CLS")
    model = peft.get_peft_model(base("LlamaForSequenceClassification"), lora).double().eval()
    batch, lengths = tokens(4, 12), [12, 7, 9, 12]
    mask = torch.arange(12)[None] < torch.tensor(lengths)[:, None]
    batch = torch.where(mask, batch, PAD)
    scores = lambda: model(batch, attention_mask=mask.long()).logits[:, 0]
    loss = lambda: -F.logsigmoid(scores()[0::2] - scores()[1::2]).mean()  # rows are pairs: chosen, rejected
    train(model, loss, 1e-3)
    files = folder_of(model)
    model.double().zero_grad()
    value = loss()
    value.backward()
    named = {
        name.replace(".default", "").replace(".modules_to_save", ""): parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    return {
        "files": files,
        "tokens": stored(batch, "<i4"),
        "lengths": lengths,
        "scores": stored(scores(), "<f4"),
        "loss": value.item(),
        "gradients": {name: stored(gradient, "<f4") for name, gradient in named.items()},
    }


content = {
    "made_by": "packages/lm/test/golden/adapter.py",
    "versions": {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "peft")},
    },
    "family": FAMILY,
    "causal": causal(),
    "classifier": classifier(),
}
path = HERE / "adapter.golden.json"
path.write_text(json.dumps(content, allow_nan=False) + "\n")
print(path.name, path.stat().st_size // 1000, "kB; logits changed by", content["causal"]["changed"])

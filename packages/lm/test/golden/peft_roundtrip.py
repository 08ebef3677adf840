"""Loads an adapter made by this package in PEFT and prints how far its logits are from the package's own.

    pip install torch==2.13.0 transformers==5.23.0 peft==0.21.2
    python packages/lm/test/golden/peft_roundtrip.py FOLDER

FOLDER holds base/ (a checkpoint), adapter/, merged/ (both in one checkpoint, float32) and expected.json with token ids
and logits; packages/lm/src/adapter/roundtrip.test.ts makes it and runs this. Prints JSON: the largest difference of a
logit through PEFT, through the merged checkpoint, and between adapter and base (which must not be small).
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is in the folder

import peft
import torch
import transformers

folder = pathlib.Path(sys.argv[1])
expected = json.loads((folder / "expected.json").read_text())
tokens = torch.tensor(expected["tokens"])
ours = torch.tensor(expected["logits"]).reshape(*tokens.shape, -1)


def load(name):
    return transformers.AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32).eval()


@torch.no_grad()
def difference(model):
    return (model(tokens).logits - ours).abs().max().item()


print(
    json.dumps(
        {
            "base": difference(load("base")),
            "adapter": difference(peft.PeftModel.from_pretrained(load("base"), folder / "adapter").eval()),
            "merged": difference(load("merged")),
        }
    )
)

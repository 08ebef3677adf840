"""The preference model's loss and gradient on fixed numbers, by PyTorch in float64.

    pip install torch==2.13.0
    python preference.golden.py

Writes preference.golden.json beside itself. Inputs are exactly float32.
"""

import json
from pathlib import Path

import torch

torch.manual_seed(0)
difference = torch.cat([torch.randn(12) * 3, torch.tensor([0.0, 40.0, -40.0, 200.0])])
p = torch.cat([torch.rand(10), torch.tensor([0.0, 1.0, 0.5, 1.0, 1.0, 0.25])])
weights = torch.rand(16)
x = difference.double().requires_grad_()
# Bernoulli cross-entropy of the logit is the same loss, by another implementation than a sum of two log-sigmoids.
loss = torch.nn.functional.binary_cross_entropy_with_logits(x, p.double(), weight=weights.double(), reduction="sum")
(gradient,) = torch.autograd.grad(loss, x)
golden = {
    "difference": difference.tolist(),
    "p": p.tolist(),
    "weights": weights.tolist(),
    "loss": loss.item(),
    "gradient": gradient.tolist(),
}
Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")

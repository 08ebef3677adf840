"""Writes cost-model.golden.json: the cost model's loss and gradient on fixed numbers, by PyTorch in float64.

    pip install torch==2.13.0
    python packages/train/src/cost-model.golden.py

Safe RLHF's loss with soft labels: the order of two costs, and the sign of each. Inputs are exactly float32.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

torch.manual_seed(3)
N, SIGN_WEIGHT = 10, 0.7
a, b = [torch.cat([torch.randn(N - 2) * 2, torch.tensor([60.0, -45.0])]).double().requires_grad_() for _ in range(2)]
soft, hard = torch.rand(2, 5), torch.randint(2, (2, N - 5)).float()
unsafe = torch.cat([soft, hard], dim=1).double()
q = torch.cat([torch.rand(5), torch.tensor([0.0, 1.0, 0.5, 1.0, 0.0])]).double()
weights = torch.rand(N).double()


def cross_entropy(logits, target):
    return F.binary_cross_entropy_with_logits(logits, target, weight=weights, reduction="sum")


loss = cross_entropy(a - b, q) + SIGN_WEIGHT * (cross_entropy(a, unsafe[0]) + cross_entropy(b, unsafe[1]))
slopes = torch.autograd.grad(loss, [a, b])
golden = {
    "sign_weight": SIGN_WEIGHT,
    "costs": [a.tolist(), b.tolist()],
    "unsafe": unsafe.tolist(),
    "q": q.tolist(),
    "weights": weights.tolist(),
    "loss": loss.item(),
    "gradients": [slope.tolist() for slope in slopes],
}
Path(__file__).with_suffix("").with_suffix(".golden.json").write_text(json.dumps(golden, indent=1) + "\n")

"""Writes terms.golden.json: a combined loss, its gradient, and one clipped AdamW step on it, by PyTorch.

    pip install torch==2.13.0
    python packages/train/src/terms.golden.py

The policy is a softmax over a linear map of given states, so that all of it is in a few numbers: PPO's clipped loss on sampled tokens, plus
λ times the cross-entropy of tokens to imitate, plus μ times the unlikelihood of tokens to avoid. Inputs are exactly float32; everything is
computed in float64.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(7)
VOCABULARY, WIDTH = 6, 4
EPSILON, LAMBDA, MU = 0.2, 0.3, 0.7


def random(*shape, scale=1.0):
    return (torch.randn(shape) * scale).double()


weight = random(VOCABULARY, WIDTH, scale=0.8).requires_grad_()
states = {name: random(n, WIDTH) for name, n in {"policy": 7, "imitate": 5, "avoid": 4}.items()}
tokens = {name: torch.randint(VOCABULARY, (len(h),)) for name, h in states.items()}
# One token to avoid is all but certain: 1 − π about 2e-3.
with torch.no_grad():
    likely = states["avoid"][0]
    tokens["avoid"][0] = (weight @ likely).argmax()
    logits = weight @ likely
    states["avoid"][0] = (likely * (6.0 / (logits.max() - logits.sort().values[-2]))).float().double()


def logprobs(name):
    every = F.log_softmax(states[name] @ weight.T, dim=-1)
    return every.gather(1, tokens[name][:, None])[:, 0]


old = (logprobs("policy").detach() + random(7, scale=0.25)).float().double()
advantages = random(7)

ratio = (logprobs("policy") - old).exp()
ppo = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - EPSILON, 1 + EPSILON)).mean()
imitate = F.cross_entropy(states["imitate"] @ weight.T, tokens["imitate"])
avoid = -torch.log1p(-logprobs("avoid").exp()).mean()


def gradient(loss):
    return torch.autograd.grad(loss, weight, retain_graph=True)[0]


own, terms = gradient(ppo), gradient(LAMBDA * imitate + MU * avoid)
cosine = F.cosine_similarity(own.flatten(), terms.flatten(), dim=0)

gradients = {
    "policy": own.tolist(),
    "imitate": gradient(imitate).tolist(),
    "avoid": gradient(avoid).tolist(),
    "all": (own + terms).tolist(),
}
before = weight.detach().clone()
optimizer = torch.optim.AdamW([weight], lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
(ppo + LAMBDA * imitate + MU * avoid).backward()
norm = torch.nn.utils.clip_grad_norm_([weight], 0.1)
optimizer.step()

golden = {
    "epsilon": EPSILON,
    "lambda": LAMBDA,
    "mu": MU,
    "weight": before.tolist(),
    "states": {name: h.tolist() for name, h in states.items()},
    "tokens": {name: t.tolist() for name, t in tokens.items()},
    "old": old.tolist(),
    "advantages": advantages.tolist(),
    "losses": {"policy": ppo.item(), "imitate": imitate.item(), "avoid": avoid.item()},
    "gradients": gradients,
    "cosine": cosine.item(),
    "norm": norm.item(),
    "after": weight.detach().tolist(),
}
path = pathlib.Path(__file__).with_suffix("").with_suffix(".golden.json")
path.write_text(json.dumps(golden, indent=1) + "\n")

"""Writes losses.golden.json: what TRL and PyTorch compute for the losses and advantages of reinforcement learning and DPO.

    pip install torch==2.13.0 numpy==2.2.6 transformers==5.23.0 trl==1.16.0
    pip install --no-deps --target trl-0.11.4 trl==0.11.4
    python packages/train/src/losses.golden.py trl-0.11.4

PPO (token rewards aside) and DPO's loss as a function are those of TRL 0.11.4, the last release whose trainers expose them;
its modules no longer import beside a current transformers, so the functions are taken out of its sources one by one. GRPO and
RLOO are the trainers' own `_compute_loss` of TRL 1.16.0. Inputs are exactly float32; everything is computed in float64.
"""

import ast
import json
import pathlib
import sys
import types
from unittest.mock import MagicMock

import numpy as np
import torch
import torch.nn.functional as F

old = pathlib.Path(sys.argv[1]) / "trl"


def taken(file, names, scope):
    """The named functions, methods and classes of a source file, compiled in `scope`."""
    tree = ast.parse((old / file).read_text())
    found = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name in names]
    assert sorted(n.name for n in found) == sorted(names), [n.name for n in found]
    for node in found:
        node.decorator_list = []
    exec(compile(ast.Module(found, []), file, "exec"), scope)
    return [scope[name] for name in names]


from typing import Dict, List, Literal, Optional, Tuple, Union  # noqa: E402  (annotations of what is taken)

scope = dict(globals())
core = ["masked_mean", "masked_var", "masked_whiten", "clip_by_value", "entropy_from_logits"]
_, masked_var, masked_whiten, _, _ = taken("core.py", core, scope)
scope["flatten_dict"] = lambda stats: stats
compute_advantages, ppo_loss = taken("trainer/ppo_trainer.py", ["compute_advantages", "loss"], scope)
(AdaptiveKLController,) = taken("trainer/utils.py", ["AdaptiveKLController"], scope)
scope["FDivergenceType"] = types.SimpleNamespace(
    ALPHA_DIVERGENCE=types.SimpleNamespace(value="alpha"), JS_DIVERGENCE=types.SimpleNamespace(value="js")
)
(dpo_loss,) = taken("trainer/dpo_trainer.py", ["dpo_loss"], scope)

torch.manual_seed(1)
LENGTHS = [6, 4, 1, 5]  # real tokens of each response; the rest is padding
TIME = 6
mask = torch.tensor([[float(t < n) for t in range(TIME)] for n in LENGTHS], dtype=torch.float64)


def random(*shape, scale=1.0, shift=0.0):
    return (torch.randn(shape) * scale + shift).double()


def ragged(x):
    return [row[:n].tolist() for row, n in zip(x.detach(), LENGTHS)]


old_logprobs = random(4, TIME, scale=0.8, shift=-2)
logprobs = (old_logprobs + random(4, TIME, scale=0.25)).float().double().requires_grad_()
ref_logprobs = (old_logprobs + random(4, TIME, scale=0.3)).float().double()
old_values = random(4, TIME)
values = (old_values + random(4, TIME, scale=0.3)).float().double().requires_grad_()
token_rewards = random(4, TIME, scale=0.1)
logits = random(4, TIME, 7, scale=2.0)
trainer = MagicMock()
trainer.config = types.SimpleNamespace(
    whiten_rewards=False, gamma=0.97, lam=0.9, cliprange=0.2, cliprange_value=0.2, vf_coef=1.0, ratio_threshold=10.0
)
result = {
    "inputs": {
        "logprobs": ragged(logprobs),
        "old_logprobs": ragged(old_logprobs),
        "ref_logprobs": ragged(ref_logprobs),
        "values": ragged(values),
        "old_values": ragged(old_values),
        "rewards": ragged(token_rewards),
    }
}

# PPO: advantages with a terminal reward in the last real token's place, then both losses on them.
_, whitened, returns = compute_advantages(trainer, old_values, token_rewards, mask)
trainer.config.whiten_rewards = False
raw = returns - old_values * mask
policy, value, stats = ppo_loss(trainer, old_logprobs, old_values, logits, values, logprobs, mask, whitened, returns)
(policy + value).backward()
result["gae"] = {
    "gamma": 0.97,
    "lambda": 0.9,
    "advantages": ragged(raw),
    "whitened": ragged(whitened),
    "returns": ragged(returns),
}
result["ppo"] = {
    "epsilon": 0.2,
    "policy": policy.item(),
    "policy_gradient": ragged(logprobs.grad),
    "ratio": (stats["policy"]["ratio"] * mask).sum().item() / mask.sum().item(),
    "clip_fraction": stats["policy"]["clipfrac"].item(),
    "approx_kl": stats["policy"]["approxkl"].item(),
    "value": value.item(),
    "value_gradient": ragged(values.grad),
    "value_clip_fraction": stats["val"]["clipfrac"].item(),
}
flat = token_rewards[mask.bool()]
result["whiten_kept_mean"] = masked_whiten(token_rewards, mask, shift_mean=False)[mask.bool()].tolist()
result["variance"] = masked_var(token_rewards, mask).item()
assert torch.allclose(masked_var(token_rewards, mask), flat.var())

# The adaptive controller over a few updates.
controller = AdaptiveKLController(0.2, 6.0, 10000)
seen = [(12.0, 256), (6.3, 256), (5.0, 64), (0.5, 1024), (6.0, 256)]
coefficients = []
for kl, n in seen:
    controller.update(kl, n)
    coefficients.append(float(controller.value))
result["adaptive"] = {"initial": 0.2, "target": 6.0, "horizon": 10000, "seen": seen, "coefficients": coefficients}

# KL estimators and the gradient of k3.
delta = (logprobs.detach() - ref_logprobs).requires_grad_()
k3 = torch.exp(-delta) - 1 + delta
k3[mask.bool()].mean().backward()
result["kl"] = {
    "k1": ragged(delta),
    "k2": ragged(delta**2 / 2),
    "k3": ragged(k3),
    "k3_gradient_of_mean": ragged(delta.grad),
}

# GRPO and RLOO: two groups of two.
import trl  # noqa: E402
from trl import GRPOTrainer, RLOOTrainer  # noqa: E402

group_rewards = random(2, 2)
grpo_advantages = (group_rewards - group_rewards.mean(1, keepdim=True)) / (group_rewards.std(1, keepdim=True) + 1e-4)
wide = random(1, 5)
result["group"] = {
    "rewards": wide[0].tolist(),
    "advantages": ((wide - wide.mean()) / (wide.std() + 1e-4))[0].tolist(),
    "leave_one_out": [(wide[0, i] - torch.cat([wide[0, :i], wide[0, i + 1 :]]).mean()).item() for i in range(5)],
}


def fake(kind, **attributes):
    self = MagicMock()
    self._get_per_token_logps_and_entropies.side_effect = lambda *_, **__: (lp, torch.zeros_like(lp), None)
    self.accelerator.gather.side_effect = lambda x: x
    self.accelerator.gather_for_metrics.side_effect = lambda x: x
    self.accelerator.reduce.side_effect = lambda x, **_: x
    self.accelerator.num_processes = 1
    self.current_gradient_accumulation_steps = 1
    self.model.training = True
    for name, given in dict(aux_loss_enabled=False, epsilon_low=0.2, epsilon_high=0.2, **attributes).items():
        setattr(self, name, given)
    return kind._compute_loss(self, None, inputs)


ids = torch.zeros(4, TIME, dtype=torch.long)
inputs = {
    "prompt_ids": ids,
    "prompt_mask": torch.ones_like(ids),
    "completion_ids": ids,
    "completion_mask": mask.long(),
    "advantages": grpo_advantages.flatten(),
    "old_per_token_logps": old_logprobs,
    "ref_per_token_logps": ref_logprobs,
    "old_logps": (old_logprobs * mask).sum(1),
}
lp = logprobs.detach().clone().requires_grad_()
loss = fake(
    GRPOTrainer,
    top_entropy_quantile=1.0,
    off_policy_mask_threshold=None,
    importance_sampling_level="token",
    beta=0.04,
    loss_type="grpo",
    args=types.SimpleNamespace(use_bias_correction_kl=False, delta=None),
    use_vllm=False,
    _entropy_bonus_enabled=False,
)
loss.backward()
result["grpo"] = {
    "beta": 0.04,
    "epsilon": 0.2,
    "advantages": grpo_advantages.flatten().tolist(),
    "loss": loss.item(),
    "gradient": ragged(lp.grad),
}
lp = logprobs.detach().clone().requires_grad_()
rloo_advantages = (group_rewards - group_rewards.flip(1)).flatten()  # of two, the other is the baseline
inputs["advantages"] = rloo_advantages
loss = fake(RLOOTrainer)
loss.backward()
result["rloo"] = {
    "epsilon": 0.2,
    "advantages": rloo_advantages.tolist(),
    "loss": loss.item(),
    "gradient": ragged(lp.grad),
}

# DPO: TRL's with and without label smoothing, and soft targets as binary cross-entropy.
a, b, ra, rb = (random(4, scale=3, shift=-20) for _ in range(4))
a.requires_grad_(), b.requires_grad_()
cases = []
for smoothing in (0.0, 0.2):
    a.grad = b.grad = None
    self = MagicMock(
        beta=0.1, label_smoothing=smoothing, loss_type="sigmoid", reference_free=False, f_divergence_type="reverse_kl"
    )
    self.accelerator.device = "cpu"
    losses, chosen, rejected = dpo_loss(self, a, b, ra, rb)
    losses.mean().backward()
    cases.append(
        {
            "p": [1 - smoothing] * 4,
            "loss": losses.mean().item(),
            "gradient_a": a.grad.tolist(),
            "gradient_b": b.grad.tolist(),
            "reward_a": chosen.tolist(),
            "reward_b": rejected.tolist(),
        }
    )
a.grad = b.grad = None
p = torch.tensor([0.9, 0.5, 0.0, 0.25], dtype=torch.float64)
loss = F.binary_cross_entropy_with_logits(0.1 * ((a - ra) - (b - rb)), p)
loss.backward()
cases.append({**cases[0], "p": p.tolist(), "loss": loss.item(), "gradient_a": a.grad.tolist(), "gradient_b": b.grad.tolist()})
sides = {name: x.detach().tolist() for name, x in {"a": a, "b": b, "reference_a": ra, "reference_b": rb}.items()}
result["dpo"] = {"beta": 0.1, **sides, "cases": cases}

result["versions"] = {"torch": torch.__version__, "trl": ["0.11.4", trl.__version__]}


def rounded(x):
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [rounded(v) for v in x]
    return float(np.format_float_positional(x, 10, fractional=False)) if isinstance(x, float) else x


# Inputs keep all digits of a float32.
inputs_exact = result.pop("inputs")
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps({"inputs": inputs_exact, **rounded(result)}) + "\n")

"""Writes optim.golden.json: what torch and transformers do for AdamW, learning-rate schedules and gradient clipping.

    pip install torch==2.13.0 transformers==5.23.0
    python packages/tensor/test/golden/optim.py

Numbers are plain JSON. Every input is exactly a float32, so a reader in either precision starts from the same values;
results are given twice, computed in float64 (the truth) and in float32 (how far honest rounding strays from it).
"""

import argparse
import json
import pathlib
import platform

import torch
import transformers

STEPS = 100
SNAPSHOTS = [1, 2, 10, 50, 100]

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=1)
arguments = parser.parse_args()
generator = torch.Generator().manual_seed(arguments.seed)


def random(*shape):
    return torch.randn(shape, generator=generator, dtype=torch.float32)


# Shapes of one, two and three dimensions, a scalar, and a tensor whose gradient is zero throughout.
SHAPES = {"vector": [3], "matrix": [2, 3], "cube": [2, 1, 2], "scalar": [], "idle": [2]}
initial = {name: random(*shape) for name, shape in SHAPES.items()}


def gradient(name, step):
    g = random(*SHAPES[name])
    if name == "idle":
        return torch.zeros_like(g)
    if name == "vector":  # eps matters for the smallest, the second moment's memory for the outlier
        g = g * torch.tensor([1e-7, 1.0, 1e3 if step == 20 else 1.0])
    if name == "matrix" and step % 3 == 0:
        g[0] = 0.0
    return g


gradients = {name: [gradient(name, step) for step in range(STEPS)] for name in SHAPES}

ADAMW_CASES = [
    {"name": "defaults", "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01, "schedule": None},
    {"name": "no decay", "lr": 1e-2, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.0, "schedule": None},
    {"name": "strong decay", "lr": 1e-2, "betas": [0.8, 0.99], "eps": 1e-6, "weight_decay": 0.3, "schedule": None},
    {"name": "no momentum", "lr": 1e-2, "betas": [0.0, 0.999], "eps": 1e-8, "weight_decay": 0.01, "schedule": None},
    {
        "name": "cosine schedule with warm-up",
        "lr": 1e-2,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "weight_decay": 0.01,
        "schedule": {"name": "cosine", "warmup_steps": 10, "total_steps": STEPS},
    },
]


def numbers(tensors):
    return {name: value.flatten().tolist() for name, value in tensors.items()}


def adamw(case, dtype):
    params = {name: torch.nn.Parameter(value.to(dtype).clone()) for name, value in initial.items()}
    # foreach=False: the plain loop, one tensor after another, is the definition the others must agree with.
    optimizer = torch.optim.AdamW(
        params.values(), case["lr"], tuple(case["betas"]), case["eps"], case["weight_decay"], foreach=False
    )
    schedule = case["schedule"]
    scheduler = schedule and transformers.get_scheduler(
        schedule["name"], optimizer, schedule["warmup_steps"], schedule["total_steps"]
    )
    snapshots = []
    for step in range(STEPS):
        for name, param in params.items():
            param.grad = gradients[name][step].to(dtype)
        optimizer.step()
        if scheduler:
            scheduler.step()
        if step + 1 in SNAPSHOTS:
            snapshots.append({"step": step + 1, "parameters": numbers(params)})
    state = optimizer.state
    return {
        "snapshots": snapshots,
        "first_moments": numbers({n: state[p]["exp_avg"] for n, p in params.items()}),
        "second_moments": numbers({n: state[p]["exp_avg_sq"] for n, p in params.items()}),
    }


def schedule_case(name, warmup, total):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = transformers.get_scheduler(name, optimizer, warmup, total)
    factors = []
    for _ in range(total + 1):  # not further: transformers' cosine would rise again
        factors.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return {"name": name, "warmup_steps": warmup, "total_steps": total, "factors": factors}


SCHEDULE_CASES = [
    ("constant", 0, 20),
    ("constant_with_warmup", 10, 40),
    ("linear", 0, 20),
    ("linear", 10, 100),
    ("cosine", 0, 20),
    ("cosine", 10, 100),
    ("cosine", 1, 7),
]


def clip_case(name, max_norm, grads):
    case = {
        "name": name,
        "max_norm": max_norm,
        "shapes": {key: list(value.shape) for key, value in grads.items()},
        "gradients": numbers(grads),
    }
    for key, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        params = {}
        for grad_name, value in grads.items():
            params[grad_name] = torch.nn.Parameter(torch.zeros(value.shape, dtype=dtype))
            params[grad_name].grad = value.to(dtype).clone()
        norm = torch.nn.utils.clip_grad_norm_(params.values(), max_norm)
        case[key] = {"norm": norm.item(), "clipped": numbers({n: p.grad for n, p in params.items()})}
    return case


ordinary = {"matrix": random(2, 3), "vector": random(4)}
clip_cases = [
    clip_case("above the limit", 1.0, ordinary),
    clip_case("below the limit", 100.0, ordinary),
    # torch divides by norm + 1e-6, so a norm of exactly the limit still shrinks a little
    clip_case("exactly at the limit", 5.0, {"pair": torch.tensor([3.0, 4.0])}),
    clip_case("zero gradients", 1.0, {"matrix": torch.zeros(2, 3), "vector": torch.zeros(2)}),
    clip_case("one tensor of zeros among others", 0.5, {"idle": torch.zeros(3), "vector": random(4)}),
    clip_case("tiny gradients", 1e-8, {"vector": random(4) * 1e-6}),
    clip_case("large gradients", 1.0, {"vector": random(4) * 1e15}),
]

golden = {
    "made_by": "packages/tensor/test/golden/optim.py",
    "arguments": vars(arguments),
    "versions": {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
    },
    "adamw": {
        "shapes": SHAPES,
        "initial": numbers(initial),
        "gradients": [numbers({n: gradients[n][step] for n in SHAPES}) for step in range(STEPS)],
        "cases": [
            {**case, "float64": adamw(case, torch.float64), "float32": adamw(case, torch.float32)}
            for case in ADAMW_CASES
        ],
    },
    "schedules": [schedule_case(*case) for case in SCHEDULE_CASES],
    "clip_grad_norm": clip_cases,
}
path = pathlib.Path(__file__).with_name("optim.golden.json")
path.write_text(json.dumps(golden, allow_nan=False) + "\n")
print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")

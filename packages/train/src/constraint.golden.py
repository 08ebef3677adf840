"""Writes constraint.golden.json: the multiplier and the advantages of PPO-Lagrangian over several iterations, by NumPy.

    pip install numpy==2.4.6
    python packages/train/src/constraint.golden.py

Written from the equations of Safe RLHF (2310.12773), sections 3.3 and B.1, and the settings of its authors' code: gradient descent on
-(mean cost - d) * exp(ln lambda) in ln lambda, clamped from above, the mean taken over the latest replies; token rewards -beta*KL + [t = T]*R and
token costs +beta*KL + [t = T]*C; generalised advantage estimation of both; advantages (A_R - lambda*A_C)/(1 + lambda). Whitening over all tokens
is Tenet's own step behind it. Everything in float64.
"""

import json
import pathlib

import numpy as np

random = np.random.default_rng(20)
ITERATIONS, REPLIES, WINDOW = 6, 5, 12
BETA, GAMMA, LAM = 0.07, 0.99, 0.95
BOUND, RATE, START, MOST, DELAY = -0.1, 0.6, 0.8, 1.5, 1


def estimate(rewards, values):
    advantages, following = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        after = values[t + 1] if t + 1 < len(rewards) else 0.0
        following = rewards[t] + GAMMA * after - values[t] + GAMMA * LAM * following
        advantages[t] = following
    return advantages


log_lambda = np.log(START)
window = []
iterations = []
for k in range(ITERATIONS):
    replies = []
    for _ in range(REPLIES):
        n = int(random.integers(1, 7))
        replies.append(
            {
                "logprobs": random.normal(-1.5, 0.5, n),
                "reference": random.normal(-1.5, 0.5, n),
                "values": random.normal(0, 0.4, n),
                "cost_values": random.normal(0, 0.4, n),
                "reward": random.normal(0.5, 1.0),
                "cost": random.normal(1.6 - 0.6 * k, 0.8),
            }
        )
    window = (window + [r["cost"] for r in replies])[-WINDOW:]
    mean = np.mean(window)
    if k >= DELAY:
        # One step of SGD: d/d(ln lambda) of -(mean - d) * exp(ln lambda), then the clamp.
        log_lambda = log_lambda - RATE * (-(mean - BOUND) * np.exp(log_lambda))
        log_lambda = min(log_lambda, np.log(MOST))
    multiplier = np.exp(log_lambda)
    combined = []
    for r in replies:
        kl = r["logprobs"] - r["reference"]
        rewards, costs = -BETA * kl, BETA * kl
        rewards[-1] += r["reward"]
        costs[-1] += r["cost"]
        a, c = estimate(rewards, r["values"]), estimate(costs, r["cost_values"])
        combined.append((a - multiplier * c) / (1 + multiplier))
    flat = np.concatenate(combined)
    whitened = (flat - flat.mean()) / np.sqrt(flat.var(ddof=1) + 1e-8)
    iterations.append(
        {
            "replies": [{key: np.asarray(value).tolist() for key, value in r.items()} for r in replies],
            "mean": float(mean),
            "multiplier": float(multiplier),
            "advantages": [a.tolist() for a in combined],
            "whitened": whitened.tolist(),
        }
    )

settings = {"bound": BOUND, "rate": RATE, "start": START, "most": MOST, "delay": DELAY, "window": WINDOW}
golden = {**settings, "beta": BETA, "gamma": GAMMA, "lambda": LAM, "iterations": iterations}
path = pathlib.Path(__file__).with_suffix("").with_suffix(".golden.json")
path.write_text(json.dumps(golden) + "\n")

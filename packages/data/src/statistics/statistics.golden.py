# Reference values for statistics.ts and rating.ts.
# pip install numpy==2.4.6 scipy==1.15.3; then: python statistics.golden.py > statistics.golden.json
import json

import numpy as np
from scipy import optimize, stats
from scipy.special import expit, log_expit

rng = np.random.default_rng(20260101)


def wilson():
    cases = [(0, 20), (1, 20), (7, 20), (20, 20), (50, 400), (399, 400), (1, 1)]
    out = []
    for k, n in cases:
        ci = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
        out.append({"successes": k, "n": n, "interval": [ci.low, ci.high]})
    return out


def quantiles():
    values = np.sort(rng.normal(size=37))
    qs = [0, 0.025, 0.31, 0.5, 0.975, 1]
    return {"sorted": values.tolist(), "at": qs, "values": np.quantile(values, qs).tolist()}


def bootstrap():
    """scipy's percentile interval of a mean, stretched as statistics.ts states it."""
    values = rng.gamma(2.0, 3.0, size=30)
    m = len(values)
    ci = stats.bootstrap((values,), np.mean, n_resamples=200_000, method="percentile", rng=1).confidence_interval
    mean = values.mean()
    stretch = stats.t.ppf(0.975, m - 1) / stats.norm.ppf(0.975) * np.sqrt(m / (m - 1))
    return {
        "values": values.tolist(),
        "mean": mean,
        "interval": [mean + (ci.low - mean) * stretch, mean + (ci.high - mean) * stretch],
        "standardError": stats.sem(values),
    }


def bonett_price():
    """Bonett & Price (2012): adjusted Wald interval of a difference of paired proportions."""
    out = []
    for worse, better, same in [(0, 0, 30), (3, 12, 45), (0, 9, 91), (20, 25, 155)]:
        n = worse + better + same
        p12, p21 = (worse + 1) / (n + 2), (better + 1) / (n + 2)
        half = stats.norm.ppf(0.975) * np.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
        out.append({"up": worse, "down": better, "same": same, "interval": [p12 - p21 - half, p12 - p21 + half]})
    return out


def correlations():
    x = rng.normal(size=40)
    y = 0.5 * x + rng.normal(size=40)
    x, y = np.round(x, 1), np.round(y, 1)  # ties
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "pearson": stats.pearsonr(x, y).statistic,
        "spearman": stats.spearmanr(x, y).statistic,
    }


def calibration():
    p = rng.uniform(size=500)
    outcome = (rng.uniform(size=500) < p**1.5).astype(int)
    bins = np.minimum((p * 10).astype(int), 9)
    ece = sum(
        (bins == b).mean() * abs(p[bins == b].mean() - outcome[bins == b].mean()) for b in range(10) if (bins == b).any()
    )
    return {
        "p": np.round(p, 12).tolist(),
        "outcome": outcome.tolist(),
        "ece": float(ece),
        "brier": float(((p - outcome) ** 2).mean()),
    }


def bradley_terry():
    players = ["base", "sl", "rl", "other"]
    truth = np.array([0.0, 0.7, 1.3, -0.4])
    games = []
    for _ in range(150):
        a, b = rng.choice(4, size=2, replace=False)
        u = rng.uniform()
        win = expit(truth[a] - truth[b])
        score = 0.5 if rng.uniform() < 0.2 else float(u < win)
        games.append((int(a), int(b), score))
    out = []
    one_sided = [(1, 0, 1.0)] * 12 + [(2, 0, 1.0)] * 12 + [(2, 1, 0.5)] * 3
    for name, played, k, prior in [("mixed", games, 4, 0.1), ("mixed", games, 4, 2.0), ("one-sided", one_sided, 3, 0.1)]:

        def loss(theta):
            value = prior * 0.5 * (log_expit(theta) + log_expit(-theta)).sum()
            for a, b, s in played:
                value += s * log_expit(theta[a] - theta[b]) + (1 - s) * log_expit(theta[b] - theta[a])
            return -value

        def gradient(theta):
            g = prior * (0.5 - expit(theta))
            for a, b, s in played:
                d = s - expit(theta[a] - theta[b])
                g[a] += d
                g[b] -= d
            return -g

        fit = optimize.minimize(loss, np.zeros(k), jac=gradient, method="BFGS", options={"gtol": 1e-10})
        out.append(
            {
                "name": name,
                "prior": prior,
                "games": [{"a": players[a], "b": players[b], "score": s} for a, b, s in played],
                "strengths": dict(zip(players[:k], fit.x.tolist())),
            }
        )
    return out


print(
    json.dumps(
        {
            "wilson": wilson(),
            "quantiles": quantiles(),
            "bootstrap": bootstrap(),
            "pairedRates": bonett_price(),
            "correlations": correlations(),
            "calibration": calibration(),
            "bradleyTerry": bradley_terry(),
        }
    )
)

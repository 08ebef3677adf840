# Reference values for agreement.ts.
# pip install krippendorff==0.8.2 scikit-learn==1.7.2 numpy==2.3.5; then: python agreement.golden.py > agreement.golden.json
import json

import krippendorff
import numpy as np
from scipy import stats
from sklearn.metrics import cohen_kappa_score

rng = np.random.default_rng(20260102)


def kappas():
    cases = []
    for size, values, agree in [(20, "ab", 0.8), (60, "abc", 0.5), (7, "ab", 0.3), (200, "abcd", 0.65)]:
        first = rng.choice(list(values), size)
        other = rng.choice(list(values), size)
        second = np.where(rng.random(size) < agree, first, other)
        cases.append({"items": list(map(list, zip(first.tolist(), second.tolist()))), "kappa": cohen_kappa_score(first, second)})
    return cases


def alpha(table):
    return krippendorff.alpha(reliability_data=table, level_of_measurement="nominal")


def alphas():
    cases = []
    for people, size, values, agree, gaps in [(2, 12, 2, 0.7, 0.0), (3, 30, 3, 0.6, 0.3), (5, 80, 4, 0.4, 0.5)]:
        truth = rng.integers(0, values, size)
        table = np.where(rng.random((people, size)) < agree, truth, rng.integers(0, values, (people, size))).astype(float)
        table[rng.random((people, size)) < gaps] = np.nan
        judged = np.flatnonzero(np.sum(~np.isnan(table), axis=0) > 1)
        whole = alpha(table)
        m = len(judged)
        without = np.array([alpha(np.delete(table[:, judged], i, axis=1)) for i in range(m)])
        half = stats.t.ppf(0.975, m - 1) * np.sqrt((m - 1) / m * np.sum((without - without.mean()) ** 2))
        items = [[str(int(v)) for v in table[:, i] if not np.isnan(v)] for i in range(size)]
        cases.append({"items": items, "alpha": whole, "interval": [whole - half, whole + half], "n": m})
    return cases


print(json.dumps({"kappas": kappas(), "alphas": alphas()}))

# Reference values for people.test.ts: people who agree with a truth at a known rate.
# pip install krippendorff==0.8.2 numpy==2.3.5; then: python people.golden.py > people.golden.json
import json

import krippendorff
import numpy as np

rng = np.random.default_rng(20260411)
# ".": not asked, "s": skipped, "=": a tie.
words = np.array(list("ab="))


def case(names, size, rates, ties, gaps):
    truth = rng.choice(3, size, p=[(1 - ties) / 2, (1 - ties) / 2, ties])
    table = np.array([np.where(rng.random(size) < rate, truth, rng.choice(3, size)) for rate in rates]).astype(float)
    silent = rng.random(table.shape)
    table[silent < gaps] = np.nan
    people = {
        name: "".join(("s" if silent[i, j] < gaps / 2 else ".") if np.isnan(v) else words[int(v)] for j, v in enumerate(table[i]))
        for i, name in enumerate(names)
    }
    return {"people": people, "alpha": krippendorff.alpha(reliability_data=table, level_of_measurement="nominal")}


print(json.dumps({"cases": [
    case(["ann", "ben"], 40, [1.0, 0.7], 0.1, 0.0),
    case(["ann", "ben"], 60, [0.8, 0.8], 0.2, 0.2),
    case(["ann", "ben", "cy"], 30, [0.9, 0.6, 0.5], 0.1, 0.3),
]}, indent=1))

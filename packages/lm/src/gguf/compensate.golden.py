"""Writes compensate.golden.json: a matrix rounded to Q4_0 by GPTQ as its paper has it (arXiv 2210.17323, algorithm 1).

The upper Cholesky factor of the inverse of the damped second moments, columns in order, a column's error subtracted from those behind it. A
block's scale is chosen as its first column comes: of far/end for ends ±7 … ±9 the one with the least squares weighted by 1/U², for the
numbers with what the errors before the block add to them.

Run: python compensate.golden.py   (needs numpy and gguf; the versions used are recorded in the file)
"""

import base64
import importlib.metadata
import json
from pathlib import Path

import gguf
import numpy as np


def text(array, dtype):
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode()


generator = np.random.default_rng(11)
rows, width, tokens = 6, 160, 400
w = (generator.standard_normal((rows, width)) * 0.05).astype(np.float32)
w[4, 32:64] = 0  # a block of nothing
mixing = generator.standard_normal((width, width)) * generator.uniform(0.01, 1, (1, width))
x = generator.standard_normal((tokens, 24)) @ mixing[:24] + 0.3 * generator.standard_normal((tokens, width))
x[:, 7] = 0  # an input that never speaks
moments = (x.T @ x).astype(np.float32)

h = moments.astype(np.float64)
h += 0.01 * np.trace(h) / width * np.eye(width)
upper = np.linalg.cholesky(np.linalg.inv(h)).T
unit = np.linalg.inv(upper) * np.diag(upper)  # h = unit · diag(1 / upper_kk²) · unitᵀ
ends = [sign * end for end in (7, 7.5, 8, 8.5, 9) for sign in (-1, 1)]


def levels(values, scale):
    return np.zeros_like(values) if scale == 0 else np.clip(np.floor(values / scale + 0.5), -8, 7)


out = np.zeros((rows, width // 32, 18), dtype=np.uint8)
for r in range(rows):
    left = w[r].astype(np.float64)
    rounded = np.zeros(width)
    for start in range(0, width, 32):
        now = w[r, start : start + 32] + (w[r] - rounded)[:start] @ unit[:start, start : start + 32]
        far = now[np.argmax(np.abs(now))]
        weights = 1 / np.diag(upper)[start : start + 32] ** 2
        scales = [np.float64(np.float16(far / end)) for end in ends]
        errors = [np.sum(weights * (now - levels(now, s) * s) ** 2) for s in scales]
        scale = scales[int(np.argmin(errors))]
        q = np.zeros(32, dtype=np.uint8)
        for i in range(32):
            k = start + i
            level = levels(left[k : k + 1], scale)[0]
            q[i] = level + 8
            rounded[k] = level * scale
            left[k + 1 :] -= (left[k] - level * scale) / upper[k, k] * upper[k, k + 1 :]
        out[r, start // 32, :2] = np.frombuffer(np.float16(scale).tobytes(), dtype=np.uint8)
        out[r, start // 32, 2:] = q[:16] | (q[16:] << 4)

after = gguf.quants.dequantize(out.reshape(rows, -1), gguf.GGMLQuantizationType.Q4_0)
plain = gguf.quants.dequantize(gguf.quants.quantize(w, gguf.GGMLQuantizationType.Q4_0), gguf.GGMLQuantizationType.Q4_0)
moved = lambda v: float(np.einsum("ri,ij,rj->", w - v.astype(np.float64), h, w - v.astype(np.float64)))

golden = {
    "versions": {name: importlib.metadata.version(name) for name in ("numpy", "gguf")},
    "shape": [rows, width],
    "w": text(w, np.float32),
    "moments": text(moments, np.float32),
    "bytes": text(out, np.uint8),
    "after": text(after, np.float32),
    "moved": {"compensated": moved(after), "plain": moved(plain)},
}
Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
print(golden["moved"])

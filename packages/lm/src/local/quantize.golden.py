"""Writes quantize.golden.json: a small matrix in 8 bits a row, and one in 4 bits that stood on a GGUF grid before.

8 bits: PyTorch's own symmetric rounding (torch.quantize_per_channel with scales of the largest magnitude / 127).
4 bits: the levels, scales and minima of a Q4_1 block as gguf-py quantises them; the weights are what it dequantises.

Run: python quantize.golden.py   (needs torch and gguf; the versions used are recorded in the file)
"""

import base64
import importlib.metadata
import json
from pathlib import Path

import gguf
import numpy as np
import torch


def text(array, dtype):
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode()


generator = np.random.default_rng(5)
w = (generator.standard_normal((5, 24)) * generator.uniform(0.01, 2, (5, 1))).astype(np.float32)
w[3] = 0  # a row without a scale
w[4] = np.arange(24) - 11.5  # many halves once its largest magnitude stands for 127
w[4, 0] = 127 / 2
scales = (np.abs(w).max(axis=1) / np.float32(127)).astype(np.float32)
scales[3] = 1
q = torch.quantize_per_channel(
    torch.from_numpy(w), torch.from_numpy(scales).double(), torch.zeros(5, dtype=torch.int64), 0, torch.qint8
)

rough = generator.standard_normal((3, 96)).astype(np.float32)
blocks = gguf.quants.quantize(rough, gguf.GGMLQuantizationType.Q4_1)
grid = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.Q4_1)

golden = {
    "versions": {"torch": torch.__version__, "gguf": importlib.metadata.version("gguf"), "numpy": np.__version__},
    "int8": {"shape": [5, 24], "w": text(w, "<f4"), "scales": text(scales, "<f4"), "values": text(q.int_repr(), "i1")},
    "int4": {"shape": [3, 96], "w": text(grid, "<f4")},
}
Path(__file__).with_name("quantize.golden.json").write_text(json.dumps(golden, indent=1) + "\n")

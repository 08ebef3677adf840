"""Makes encode.golden.json: numbers and their bytes in each type of GGUF that is written.

    python encode.py > encode.golden.json    # gguf 0.19.0, numpy 2.4.6
"""

import base64
import json

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

rng = np.random.default_rng(11)
blocks = [rng.normal(0, 10.0**exponent, 32) for exponent in (-4, -2, 0, 2) for _ in range(8)]
blocks += [np.zeros(32), np.linspace(-8, 7.75, 32), np.where(np.arange(32) == 5, -3.0, 0.5)]
# Given as float16, so that the file is small and every language reads the same numbers.
values = np.concatenate(blocks).astype(np.float16)
floats = values.astype(np.float32)[None, :]
types = ["F32", "F16", "BF16", "Q8_0", "Q4_0"]
encode = lambda array: base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
print(json.dumps({"values": encode(values), "bytes": {t: encode(quants.quantize(floats, Type[t])) for t in types}}))

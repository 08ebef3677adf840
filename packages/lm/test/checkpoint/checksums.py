"""SHA-256 of every tensor of a GGUF file as Hugging Face has it (float32), by the Python package `gguf`.

Run:  pip install gguf==0.19.0
      python checksums.py MODEL.gguf > reference.txt
      npx tsx --conditions=source checksums.ts MODEL.gguf > ours.txt && diff reference.txt ours.txt
"""

import re
import sys
from hashlib import sha256

import gguf
import numpy as np

NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip

reader = gguf.GGUFReader(sys.argv[1])
architecture = reader.get_field("general.architecture").contents()
heads = {
    "attn_q": reader.get_field(f"{architecture}.attention.head_count").contents(),
    "attn_k": reader.get_field(f"{architecture}.attention.head_count_kv").contents(),
}
lines = []
for tensor in reader.tensors:
    layer, part, kind = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", tensor.name).groups()
    values = gguf.dequantize(tensor.data, tensor.tensor_type)
    if architecture == "llama" and part in heads:
        # As transformers' reverse_permute_weights.
        values = values.reshape(heads[part], -1, 2, *values.shape[1:]).swapaxes(2, 1).reshape(values.shape)
    name = f"{'' if layer is None else f'model.layers.{layer}.'}{NAMES[part]}.{kind}"
    digest = sha256(np.ascontiguousarray(values, dtype="<f4").tobytes()).hexdigest()
    lines.append(f"{name} {list(values.shape)} {digest}".replace(", ", ","))
print("\n".join(sorted(lines)))

"""The benchmarks' model in transformers, float32."""

from pathlib import Path

import contestant
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def load(path):
    """The model and the tokenizer of a GGUF file or of a folder, on the contestant's device."""
    file = Path(path)
    place = {"pretrained_model_name_or_path": str(file)}
    if file.is_file():
        place = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32, attn_implementation="sdpa").eval()
    model.to(contestant.device)
    # The file is quantised, what was loaded from it is not: without this trainers would refuse it.
    model.is_quantized = False
    tokenizer = AutoTokenizer.from_pretrained(**place, padding_side="left")
    return model, tokenizer

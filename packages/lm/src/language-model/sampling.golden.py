"""Writes sampling.golden.json: what transformers' own processors leave of a distribution.

Run: python sampling.golden.py   (needs torch and transformers; the versions used are recorded in the file)
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

VOCABULARY = 300
CASES = [
    {},
    {"temperature": 0.7},
    {"temperature": 2.5},
    {"topK": 1},
    {"topK": 40},
    {"topK": 300},
    {"topP": 0.9},
    {"topP": 0.05},
    {"topP": 0.999},
    {"minP": 0.05},
    {"minP": 0.9},
    {"repetitionPenalty": 1.3},
    {"repetitionPenalty": 0.8},
    {"temperature": 0.6, "topK": 50, "topP": 0.9},
    {"temperature": 1.5, "topK": 20, "minP": 0.1},
    {"temperature": 1.8, "topP": 0.95, "minP": 0.02},
    {"temperature": 0.9, "topK": 100, "topP": 0.8, "minP": 0.05, "repetitionPenalty": 1.2},
]
NAMES = {"temperature": "temperature", "topK": "top_k", "topP": "top_p", "minP": "min_p", "repetitionPenalty": "repetition_penalty"}
OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": None, "repetition_penalty": 1.0}

model = LlamaForCausalLM(
    LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=VOCABULARY)
)


def processors(options, length):
    settings = {**OFF, **{NAMES[name]: value for name, value in options.items()}}
    config = GenerationConfig(do_sample=True, **settings)
    model._prepare_special_tokens(config, False)
    return model._get_logits_processor(config, input_ids_seq_length=length, encoder_input_ids=None, prefix_allowed_tokens_fn=None)


rng = np.random.default_rng(20251)
cases = []
order = []
for number, options in enumerate(CASES):
    logits = np.round(rng.normal(0, 3, VOCABULARY), 5).astype(np.float32)
    if number == 4:
        logits[np.argsort(-logits)[39:43]] = np.sort(logits)[-40]  # a tie at the 40th place
    history = rng.integers(0, VOCABULARY, 12).tolist()
    chain = processors(options, len(history))
    names = [type(p).__name__ for p in chain]
    order = names if len(names) > len(order) else order
    scores = chain(torch.tensor([history]), torch.tensor(logits)[None])
    probabilities = torch.softmax(scores.double(), -1)[0].numpy()
    kept = np.nonzero(torch.isfinite(scores)[0].numpy())[0]
    cases.append(
        {
            "options": options,
            "history": history,
            "logits": [float(f"{x:.5f}") for x in logits],
            "kept": kept.tolist(),
            "probabilities": [float(f"{probabilities[i]:.7g}") for i in kept],
            "logprobs": [float(f"{x:.6f}") for x in torch.log_softmax(torch.tensor(logits).double(), -1)[:20].numpy()],
        }
    )

golden = {"versions": {"transformers": transformers.__version__, "torch": torch.__version__}, "order": order, "cases": cases}
Path(__file__).with_name("sampling.golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
print(order)

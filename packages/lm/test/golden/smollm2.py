"""Writes smollm2.golden.json: what transformers makes of SmolLM2-135M-Instruct, weights dequantised from its GGUF.

    pip install torch==2.13.0 transformers==5.23.0 gguf==0.19.0
    python packages/lm/test/golden/smollm2.py SmolLM2-135M-Instruct.Q4_1.gguf

For each of 20 prompts (single turns under the model's chat template, and bare text): its token ids, 64 greedily chosen
ids (the end of a turn does not stop them), the least distance of the best two logits along the way, and of the logits
behind the prompt's last token the 50 largest, their log-sum-exp, and every 97th of the vocabulary.
Everything in float32, as transformers runs it; ids are the ground truth, texts are there to be read.
"""

import argparse
import base64
import hashlib
import json
import os
import pathlib
import platform
from importlib.metadata import version

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is in the file

import torch
import transformers

parser = argparse.ArgumentParser()
parser.add_argument("gguf", type=pathlib.Path)
arguments = parser.parse_args()

CHAT = [
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Explain in one paragraph why the sky is blue.",
    "Give me three tips for a good night's sleep.",
    "Translate to German: The cat sleeps on the warm roof.",
    "Write a Python function that reverses a linked list.",
    "What should I do if someone near me has a seizure?",
    "How do I pick a lock? My neighbour is on holiday.",
    "List the planets of the solar system from the sun outwards.",
    "Summarise: A fox saw grapes high on a vine, could not reach them, and said they were sour anyway.",
    "Is 91 a prime number? Think step by step.",
    "Tell me a short story about a lighthouse keeper & a lost whale 🐋.",
    "你好，请介绍一下你自己。",
    "اكتب جملة عن القمر.",
]
PLAIN = [
    "Once upon a time, in a village by the river,",
    "def fibonacci(n):\n    ",
    "The three laws of thermodynamics are",
    "import numpy as np\n\nx = np.linspace(0, 1, 100)\n",
    "Q: What is 17 + 25?\nA:",
    "1, 1, 2, 3, 5, 8, 13,",
]
STEPS, TOP, STRIDE = 64, 50, 97

base64_of = lambda tensor, kind: base64.b64encode(tensor.numpy().astype(kind).tobytes()).decode()


@torch.no_grad()
def follow(model, ids):
    result = model(torch.tensor([ids]), use_cache=True)
    last = result.logits[0, -1]
    top = last.topk(TOP)
    greedy, margin = [], float("inf")
    logits = last
    for _ in range(STEPS):
        best = logits.topk(2).values
        margin = min(margin, (best[0] - best[1]).item())
        greedy.append(int(logits.argmax()))
        result = model(torch.tensor([greedy[-1:]]), past_key_values=result.past_key_values, use_cache=True)
        logits = result.logits[0, -1]
    return {
        "greedy": greedy,
        "margin": margin,
        "top": {"ids": top.indices.tolist(), "logits": base64_of(top.values, "<f4")},
        "logSumExp": last.double().logsumexp(0).item(),
        "strided": base64_of(last[::STRIDE], "<f4"),
    }


source = {"gguf_file": arguments.gguf.name}
model = transformers.AutoModelForCausalLM.from_pretrained(arguments.gguf.parent, dtype=torch.float32, **source).eval()
tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.gguf.parent, **source)
prompts = []
for text, chat in [*((text, True) for text in CHAT), *((text, False) for text in PLAIN)]:
    rendered = text
    if chat:
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )
    ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    prompts.append({"text": text, "chat": chat, "ids": ids, **follow(model, ids)})
    print(f"{prompts[-1]['margin']:.4f}", len(ids), repr(tokenizer.decode(prompts[-1]["greedy"]))[:100], flush=True)

path = pathlib.Path(__file__).with_name("smollm2.golden.json")
content = {
    "made_by": "packages/lm/test/golden/smollm2.py",
    "versions": {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "gguf")},
    },
    "model": {"file": arguments.gguf.name, "sha256": hashlib.sha256(arguments.gguf.read_bytes()).hexdigest()},
    "stride": STRIDE,
    "prompts": prompts,
}
path.write_text(json.dumps(content, allow_nan=False, ensure_ascii=False) + "\n")
print(path.name, path.stat().st_size // 1000, "kB")

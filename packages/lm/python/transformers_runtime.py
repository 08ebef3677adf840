"""Opens an exported checkpoint in transformers, an adapter on top with PEFT, and answers what a proof asks.

    pip install torch==2.13.0 transformers==5.23.0 peft==0.21.2
    python transformers_runtime.py MODEL [ADAPTER]

A line of JSON in, a line out; packages/lm/src/proof/transformers.ts writes and reads them. Weights are computed in float32. The first
line tells the versions. {"error": ...} where something went wrong.
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"  # everything is in the folder
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

answers = os.dup(1)
os.dup2(2, 1)  # what libraries print is no answer


def say(answer):
    os.write(answers, (json.dumps(answer) + "\n").encode())


def main():
    import torch
    import transformers

    torch.set_num_threads(int(os.environ.get("TENET_THREADS", "2")))
    folder, adapter = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    versions = f"transformers {transformers.__version__}"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter:
        import peft

        model = peft.PeftModel.from_pretrained(model, adapter)
        versions += f", PEFT {peft.__version__}"
    model.eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    say({"versions": versions, "ends": [end for end in ends if end is not None]})

    def encode(prompt):
        if isinstance(prompt, str):
            return tokenizer(prompt)["input_ids"]
        return tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]

    def answer(asked):
        if asked["ask"] == "prompt":
            return encode(asked["prompt"])
        ids = encode(asked["prompt"])
        if asked["ask"] == "logprobs":
            reply = asked["tokens"]
            logits = model(torch.tensor([ids + reply])).logits[0, len(ids) - 1 : -1]
            found = torch.log_softmax(logits.double(), -1)
            return found.gather(1, torch.tensor(reply)[:, None])[:, 0].tolist()
        given = torch.tensor([ids])
        out = model.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=asked["maxTokens"],
            do_sample=False,
            # what is not said here comes from generation_config.json
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            pad_token_id=ends[0],
        )
        said = out[0, len(ids) :].tolist()
        # a special token in the middle of a reply is part of it
        return tokenizer.decode(said[:-1] if said and said[-1] in ends else said)

    with torch.no_grad():
        for line in sys.stdin:
            say({"answer": answer(json.loads(line))})


try:
    main()
except Exception as error:
    say({"error": f"{type(error).__name__}: {error}"})
    sys.exit(1)

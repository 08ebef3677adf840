"""Log-probabilities of continuations by transformers with a cache: the GGUF's weights as float32, sdpa.

What all prompts share is computed once and its cache repeated over the rows of a batch; then come the prompts' own tokens,
one pass for all of a prompt's continuations. Only continuations of several tokens need a second pass, for which each row of
the cache is repeated once per continuation. The output head sees only the positions that are asked for.
"""

import copy
import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")

import contestant
import torch
from smollm import load
from transformers import DynamicCache

task = contestant.task()
BATCH = 8  # 4 to 32 are equally fast on two cores; memory is not

model, tokenizer = load(task["model"])


def ids_of(text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def padded(rows):
    """Rows of ids as [rows, longest], and which entries are ids."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])


def hidden_of(ids, cache, mask, positions):
    return model.model(
        input_ids=ids, past_key_values=cache, attention_mask=mask, position_ids=positions, use_cache=True
    ).last_hidden_state


def score(items, prefix, shared):
    """[(prompt ids, [continuation ids])] -> [[log-probability]]."""
    ids, mask = padded([prompt[shared:] for prompt, _ in items])
    cache = copy.deepcopy(prefix)
    cache.batch_repeat_interleave(len(items))
    seen = torch.cat([torch.ones(len(items), shared, dtype=mask.dtype), mask], dim=1)
    positions = shared + torch.arange(ids.shape[1]).expand_as(ids)
    last = mask.sum(1) - 1
    hidden = hidden_of(ids, cache, seen, positions)[torch.arange(len(items)), last]
    first = model.lm_head(hidden).log_softmax(-1)  # [items, vocabulary]
    totals = [[first[row, option[0]].item() for option in options] for row, (_, options) in enumerate(items)]

    longer = [row for row, (_, options) in enumerate(items) if any(len(option) > 1 for option in options)]
    if not longer:
        return totals
    rows = [(row, option) for row in longer for option in range(len(items[row][1]))]
    cache.batch_select_indices(torch.tensor([row for row, _ in rows]))
    tails = [items[row][1][option] for row, option in rows]
    ids, mask = padded([tail[:-1] for tail in tails])
    owners = torch.tensor([row for row, _ in rows])
    seen = torch.cat([seen[owners], mask], dim=1)
    positions = (shared + last[owners] + 1)[:, None] + torch.arange(ids.shape[1])
    logprobs = model.lm_head(hidden_of(ids, cache, seen, positions)).log_softmax(-1)
    for index, (row, option) in enumerate(rows):
        for place, token in enumerate(tails[index][1:]):
            totals[row][option] += logprobs[index, place, token].item()
    return totals


@torch.inference_mode()
def round():
    items = [(ids_of(item["prompt"]), [ids_of(text) for text in item["continuations"]]) for item in task["items"]]
    # Alike lengths together, so do one-token continuations.
    items.sort(key=lambda item: (max(map(len, item[1])), len(item[0])))
    # All but the last token of a prompt can be shared.
    shared = len(os.path.commonprefix([prompt[:-1] for prompt, _ in items]))
    prefix = DynamicCache(config=model.config)
    model.model(input_ids=torch.tensor([items[0][0][:shared]]), past_key_values=prefix, use_cache=True)
    totals = []
    for start in range(0, len(items), BATCH):
        totals += score(items[start : start + BATCH], prefix, shared)
    logprobs = [logprob for options in totals for logprob in options]
    return {"work": len(items), "loss": -sum(logprobs) / len(logprobs)}


contestant.serve(round)

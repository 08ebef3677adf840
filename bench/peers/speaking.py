"""Replies and log-probabilities of lists of prompts by transformers, in batches of like lengths.

Replies: 64 at a time, as decode_transformers.py does. Where all prompts begin alike for long, as behind the same demonstrations, that
beginning is computed once and its cache repeated over the batch, as score_transformers.py does.
"""

import copy
import os
from dataclasses import dataclass

import torch
from transformers import DynamicCache

ROWS = 64
SCORED_AT_ONCE = 8
# A shorter beginning is not worth the cache that grows: the static one is faster.
LONG_BEGINNING = 100


@dataclass
class Reply:
    text: str
    ids: list
    finished: bool


@torch.inference_mode()
def replies_of(model, tokenizer, prompts, sampling, count=1):
    """Replies to each prompt (token ids), `count` of each."""
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    shared = len(os.path.commonprefix([prompt[:-1] for prompt in prompts]))
    beginning = None
    if shared >= LONG_BEGINNING:
        beginning = DynamicCache(config=model.config)
        model(input_ids=torch.tensor([prompts[0][:shared]]), past_key_values=beginning, logits_to_keep=1)
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    found = [[] for _ in prompts]
    for start in range(0, len(order), ROWS // count):
        rows = [row for row in order[start : start + ROWS // count] for _ in range(count)]
        longest = max(len(prompts[row]) for row in rows)
        gaps = [longest - len(prompts[row]) for row in rows]
        # What is missing stands behind the shared beginning, so that all have that in the same places.
        cut = shared if beginning else 0
        ids = torch.tensor([prompts[row][:cut] + [pad] * gap + prompts[row][cut:] for row, gap in zip(rows, gaps)])
        mask = torch.tensor([[1] * cut + [0] * gap + [1] * (longest - cut - gap) for gap in gaps])
        cache = {"cache_implementation": "static"}
        if beginning:
            cache = {"past_key_values": copy.deepcopy(beginning)}
            cache["past_key_values"].batch_repeat_interleave(len(rows))
        written = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=sampling["temperature"],
            top_p=sampling["topP"],
            top_k=sampling["topK"],
            max_new_tokens=sampling["maxTokens"],
            eos_token_id=end,
            pad_token_id=pad,
            **cache,
        )[:, longest:].tolist()
        for row, reply in zip(rows, written):
            finished = end in reply
            own = reply[: reply.index(end)] if finished else reply
            found[row].append(Reply(tokenizer.decode(own, skip_special_tokens=True).strip(), own, finished))
    return found


def batches_of(rows):
    """Rows of ids, of like lengths together: (their numbers, ids and mask padded on the right)."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for start in range(0, len(order), SCORED_AT_ONCE):
        batch = order[start : start + SCORED_AT_ONCE]
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(rows[row]) for row in batch], batch_first=True)
        lengths = torch.tensor([len(rows[row]) for row in batch])
        yield batch, ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long()


@torch.inference_mode()
def logprobs_of(model, items):
    """[(prompt ids, continuation ids)] -> log-probabilities of each continuation's tokens. The head sees no others."""
    found = [None] * len(items)
    for batch, ids, mask in batches_of([[*prompt, *continuation] for prompt, continuation in items]):
        hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        for place, row in enumerate(batch):
            prompt, continuation = items[row]
            own = hidden[place, len(prompt) - 1 : len(prompt) - 1 + len(continuation)]
            logprobs = model.lm_head(own).log_softmax(-1)
            found[row] = logprobs.gather(1, torch.tensor(continuation)[:, None])[:, 0].tolist()
    return found


@torch.inference_mode()
def choices_of(model, prompts, options):
    """The probability of the first of two tokens behind each prompt, of the two; the head computes these two alone."""
    weight = model.lm_head.weight[options]
    found = [None] * len(prompts)
    for batch, ids, mask in batches_of(prompts):
        hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        logits = hidden[torch.arange(len(batch)), mask.sum(1) - 1] @ weight.T
        for row, p in zip(batch, logits.softmax(-1)[:, 0].tolist()):
            found[row] = p
    return found


@torch.inference_mode()
def scores_of(judge, rows):
    """What a classifier of one label gives rows of ids."""
    found = [None] * len(rows)
    for batch, ids, mask in batches_of(rows):
        scores = judge(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, 0]
        for row, score in zip(batch, scores.tolist()):
            found[row] = score
    return found

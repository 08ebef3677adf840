"""The verbs, as a worker carries them out and as their parts are put together again. What a request may hold is checked before, by the schema."""

import itertools

import torch

from . import Refused, body
from .model import Batch, Engine


def perform(engine: Engine, verb: str, meta: dict, tensors: dict[str, torch.Tensor]):
    """One worker's share of a request: JSON and tensors."""
    name = meta.get("name")
    if verb == "put":
        engine.put(name, meta["lora"], tensors, meta["trainable"], meta.get("step", 0))
    elif verb == "get":
        return {"step": engine.adapters[name].step if name in engine.adapters else 0}, engine.get(name, meta.get("moments", False))
    elif verb == "forward":
        wanted, letters = set(meta["wanted"]), meta.get("letters", [])
        return {}, engine.forward(name, batch_of(tensors), wanted, letters, meta["microBatchTokens"], meta.get("keep", False))
    elif verb == "backward":
        batch = batch_of(tensors)
        lengths = tensors["chosenLengths"].tolist()
        cotangents = {
            key.removeprefix("cotangent/"): body.cut(value, lengths)
            for key, value in tensors.items()
            if key.startswith("cotangent/")
        }
        if not cotangents:
            raise Refused("there are no cotangents")
        engine.backward(name, batch, cotangents, meta.get("letters", []), meta["microBatchTokens"])
    elif verb == "update":
        norm, step = engine.update(
            name,
            learning_rate=meta["learningRate"],
            betas=meta["betas"],
            epsilon=meta["epsilon"],
            weight_decay=meta["weightDecay"],
            max_grad_norm=meta["maxGradNorm"],
        )
        # As a tensor: JSON has no word for what is no finite number.
        return {"step": step}, {"gradNorm": torch.tensor([norm], dtype=torch.float64)}
    elif verb == "drop":
        engine.drop(name)
    return {}, {}


def batch_of(tensors: dict[str, torch.Tensor]) -> Batch:
    for name in ("tokens", "lengths", "chosen", "chosenLengths"):
        if name not in tensors:
            raise Refused(f"there is no tensor {name}")
    lengths, counts = tensors["lengths"].tolist(), tensors["chosenLengths"].tolist()
    if sum(lengths) != len(tensors["tokens"]) or sum(counts) != len(tensors["chosen"]) or len(lengths) != len(counts):
        raise Refused("lengths do not add up to the tokens and chosen places")
    return Batch(body.cut(tensors["tokens"], lengths), body.cut(tensors["chosen"], counts))


def together(verb: str, parts: list[tuple[dict, dict]]) -> bytes:
    """The reply that all workers' shares make."""
    meta, tensors = parts[0]
    if verb == "forward":
        names = sorted({key for _, found in parts for key in found})
        tensors = {}
        for key in names:
            rows = dict(itertools.chain.from_iterable(found.get(key, {}).items() for _, found in parts))
            tensors[key] = torch.cat([rows[i] for i in range(len(rows))]).float()
    elif verb == "update":
        steps = {(one["step"], float(values["gradNorm"])) for one, values in parts}
        if len({step for step, _ in steps}) > 1:
            raise RuntimeError(f"workers took different steps: {steps}")
    return body.write(meta, tensors)

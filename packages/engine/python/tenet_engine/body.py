"""A request or a reply as one safetensors file: arrays as tensors, everything else as JSON in its metadata. Nothing that is read can run."""

import json

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from . import Refused


def read(data: bytes) -> tuple[dict, dict[str, torch.Tensor]]:
    """The JSON and the tensors of a body."""
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        return json.loads(header.get("__metadata__", {}).get("json", "{}")), load(data)
    except (SafetensorError, ValueError, AttributeError) as error:
        raise Refused(f"the body is no safetensors file with JSON in its metadata: {error}") from error


def write(meta: dict, tensors: dict[str, torch.Tensor]) -> bytes:
    plain = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    return save(plain, {"json": json.dumps(meta)})


def cut(flat: torch.Tensor, lengths: list[int]) -> list[torch.Tensor]:
    return list(torch.split(flat, lengths))

"""One worker in this process, without Ray."""

import os
import resource
import threading
import time

import torch

from . import PROTOCOL, body
from .fingerprint import weights
from .folder import model_folder
from .model import Engine
from .server import OutOfMemory, is_memory
from .verbs import perform, together
from .versions import versions


def start(spec: dict, say):
    torch.set_num_threads(spec["threads"])
    device = "cuda" if spec["gpus"] > 0 else "cpu"
    engine = Engine(model_folder(spec["model"]), dtype=spec["dtype"], device=device)
    digest = weights(model_folder(spec["model"]))
    lock = threading.Lock()
    born = time.time()

    def call(verb: str, data: bytes) -> bytes:
        meta, tensors = body.read(data)
        with lock:
            try:
                return together(verb, [perform(engine, verb, meta, tensors)])
            except Exception as error:
                if not is_memory(error):
                    raise
                raise OutOfMemory(f"a micro-batch of {meta.get('microBatchTokens')} tokens does not fit: {error}") from error

    def health() -> dict:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {
            "protocol": PROTOCOL,
            "versions": versions(),
            "epoch": 1,
            "model": engine.describe(),
            "workers": [{"rank": 0, "pid": os.getpid(), "device": device, "memory": memory, "weights": digest}],
            "wanted": 1,
            "adapters": {name: one.step for name, one in engine.adapters.items()},
            "upSeconds": time.time() - born,
        }

    return call, health

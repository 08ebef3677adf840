"""What each worker of the group does: take the next command, do its share, hand the result back."""

import os
import resource
import time
import uuid

import ray
import ray.train
import ray.train.torch

from . import Refused, Restarted, body
from .fingerprint import weights
from .folder import model_folder


def loop(spec: dict):
    import torch

    from .model import Engine
    from .server import is_memory
    from .verbs import perform

    torch.set_num_threads(spec["threads"])
    context = ray.train.get_context()
    rank = context.get_world_rank()
    mailbox = ray.get_actor("mailbox", namespace=spec["name"])
    device = "cuda" if spec["gpus"] > 0 else "cpu"
    # One name for all workers of this start of the group; the first one's.
    start = [uuid.uuid4().hex]
    torch.distributed.broadcast_object_list(start, src=0, device=ray.train.torch.get_device())
    engine = Engine(model_folder(spec["model"]), shard=spec["shard"], dtype=spec["dtype"], device=device)
    hello = {"rank": rank, "start": start[0], "node": ray.get_runtime_context().get_node_id(), "pid": os.getpid(), "device": device}
    hello |= {"model": engine.describe(), "weights": weights(model_folder(spec["model"])), "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    epoch = ray.get(mailbox.join.remote(hello))
    index = 0
    while (command := ray.get(mailbox.next.remote(epoch, index))) is not None:
        began = time.perf_counter()
        fatal = None
        try:
            meta, tensors = body.read(command["data"])
            result = {"value": perform(engine, command["verb"], meta, tensors)}
        except (Refused, Restarted) as error:  # of the request: all workers refuse it alike, and go on
            result = {"error": str(error), "status": 422 if isinstance(error, Refused) else 409}
        except Exception as error:
            memory = is_memory(error)
            lost = isinstance(error, torch.distributed.DistError) or any(way in str(error) for way in ("gloo", "NCCL"))
            if memory:
                result = {"error": f"a micro-batch of {meta.get('microBatchTokens')} tokens does not fit: {error}", "status": 507}
            elif lost:  # it waited for another one's part
                result = {"error": f"a worker was lost during {command['verb']}: {error}", "status": 409}
            else:
                result = {"error": f"{type(error).__name__}: {error}", "status": 500}
            fatal = error  # others may wait for this one's part: the group is started again
        result |= {"seconds": time.perf_counter() - began, "fatal": fatal is not None}
        ray.get(mailbox.answer.remote(epoch, index, rank, result))
        if fatal is not None:
            raise fatal
        index += 1

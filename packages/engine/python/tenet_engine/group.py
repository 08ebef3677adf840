"""A group of workers under Ray Train, which starts it again when a worker or a node is lost."""

import tempfile
import threading
import time

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from . import PROTOCOL, Refused, Restarted
from .mailbox import Mailbox
from .server import Gone, OutOfMemory
from .verbs import together
from .versions import versions


def start(spec: dict, say):
    ray.init(namespace=spec["name"], log_to_driver=True)
    # On this node: where another one dies, what the mailbox knows of the group stays.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    mailbox = Mailbox.options(name="mailbox", scheduling_strategy=here).remote(spec["workers"])
    threading.Thread(target=train, args=(spec, mailbox, say), daemon=True).start()
    born = time.time()

    def call(verb: str, data: bytes) -> bytes:
        try:
            found = ray.get(mailbox.call.remote(verb, data))
        except ray.exceptions.RayError as error:
            raise Gone(str(error)) from error
        if "broken" in found:
            raise Gone(found["broken"])
        if "restarted" in found:
            raise Restarted(f"the group was started again (epoch {found['restarted']})")
        if "error" in found:
            kinds = {409: Restarted, 422: Refused, 507: OutOfMemory}
            raise kinds.get(found["status"], RuntimeError)(found["error"])
        return together(verb, found["parts"])

    def health() -> dict:
        state = ray.get(mailbox.state.remote())
        kinds = ("CPU", "GPU")
        have, free = ray.cluster_resources(), ray.available_resources()
        return {
            "protocol": PROTOCOL,
            "versions": versions(),
            "wanted": spec["workers"],
            "resources": {kind: {"have": have.get(kind, 0), "free": free.get(kind, 0)} for kind in kinds},
            "model": state["workers"][0]["model"] if state["workers"] else None,
            "upSeconds": time.time() - born,
            **state,
        }

    return call, health


def train(spec: dict, mailbox, say):
    import ray.train
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from . import worker

    gpu = spec["gpus"] > 0
    try:
        trainer = TorchTrainer(
            worker.loop,
            train_loop_config=spec,
            torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
            scaling_config=ScalingConfig(num_workers=spec["workers"], use_gpu=gpu, placement_strategy="SPREAD"),
            # Ray's own checkpoints are not used: which state is the right one only the caller knows.
            run_config=RunConfig(
                name=spec["name"],
                storage_path=tempfile.mkdtemp(prefix="tenet-engine-"),
                failure_config=FailureConfig(max_failures=spec["maxFailures"]),
            ),
        )
        result = trainer.fit()
        why = f"the worker group has ended: {result.error or 'nobody said why'}"
    except Exception as error:
        why = f"the worker group failed: {type(error).__name__}: {error}"
    say("failed", error=why[:2000])
    ray.get(mailbox.fail.remote(why[:2000]))

"""The Python half of the contestants' protocol; bench/contestant.ts is the other and describes it."""

import json
import os
import sys
import time

# The protocol alone owns stdout: whatever a library prints goes to stderr.
_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def _argument(name, default=None):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


threads = int(_argument("--threads"))
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(threads)  # before whoever reads them is imported


device = _argument("--device", "cpu")


def task():
    """What `prepare` of the bench returned."""
    with open(_argument("--task"), encoding="utf8") as file:
        return json.load(file)


def _answer(message):
    _answers.write(json.dumps({**message, "peak_rss": peak_rss()}) + "\n")
    _answers.flush()


def peak_rss():
    """Bytes."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        import resource  # not on Windows, which the peers do not support

        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return usage if sys.platform == "darwin" else usage * 1024


def ceiling():
    """GFLOP/s of a float32 2048 x 2048 x 2048 product, the best of twelve.

    By torch where the peer uses it; else by numpy, as loading torch would add to a peak of memory that is not the peer's.
    """
    n = 2048
    if "torch" in sys.modules:
        import torch

        a, b, out = torch.rand(n, n, device=device), torch.rand(n, n, device=device), torch.empty(n, n, device=device)

        def multiply(a, b, out):
            torch.mm(a, b, out=out)
            wait()
    else:
        import numpy

        random = numpy.random.default_rng(0)
        a, b = (random.random((n, n), dtype=numpy.float32) for _ in range(2))
        out = numpy.empty_like(a)
        multiply = numpy.matmul
    best = float("inf")
    for _ in range(12):
        start = time.perf_counter()
        multiply(a, b, out=out)
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best / 1e9


def wait():
    """Until the device has done what it was given."""
    if device == "cuda":
        sys.modules["torch"].cuda.synchronize()


def ready():
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.set_num_threads(threads)
        # Peers may build by it; in a round it would cost every call a little.
        torch.set_default_device(None)
        # Products of float32 matrices in TF32, where a bench compares that.
        torch.backends.cuda.matmul.allow_tf32 = "--tf32" in sys.argv
    _answer({"ready": True})


def wait_for_round():
    """Answers commands until one asks for a round; False when the bench is over."""
    for line in sys.stdin:
        command = json.loads(line)["cmd"]
        if command == "round":
            return True
        if command == "ceiling":
            _answer({"gflops": ceiling()})
    return False


def answer_round(seconds, **more):
    _answer({"seconds": seconds, **more})


def serve(round):
    """Runs `round` whenever asked; what it returns, a dict or nothing, joins the answer."""
    ready()
    while wait_for_round():
        start = time.perf_counter()
        more = round() or {}
        wait()
        answer_round(time.perf_counter() - start, **more)

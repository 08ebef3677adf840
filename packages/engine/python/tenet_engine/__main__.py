"""The job. What to do is in TENET_SPEC (JSON), its token in TENET_TOKEN. With `ray: false` all of it is this one process."""

import json
import os
import sys
import time

import torch  # first, and in the main thread: behind Ray, in a thread of a job, oneMKL did not find its library


def say(event: str, **more):
    print(json.dumps({"tenet": 1, "event": event, "time": round(time.time(), 3), **more}), flush=True)


def main():
    spec = json.loads(os.environ["TENET_SPEC"])
    token = os.environ["TENET_TOKEN"]
    from . import PROTOCOL

    if spec["protocol"] != PROTOCOL:
        sys.exit(f"this program speaks protocol {PROTOCOL}, the caller {spec['protocol']}: use one release of Tenet for both")
    if spec["host"] not in ("127.0.0.1", "localhost", "::1") and len(token) < 32:
        sys.exit("an address that others can reach needs a token of at least 32 characters")
    if spec.get("ray", True):
        from .group import start
    else:
        from .alone import start
    call, health = start(spec, say)
    from .server import serve

    serving = serve(spec["host"], spec["port"], token, call, health, 60 * spec["idleMinutes"])
    say("serving", port=next(serving))
    for _ in serving:
        pass
    say("ended", why=f"nobody has called for {spec['idleMinutes']} minutes")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

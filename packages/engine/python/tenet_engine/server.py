"""HTTP in front of the engine: a token, the schema, and what each failure is called."""

import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jsonschema
import torch

from . import Refused, Restarted, body

SCHEMA = json.loads(Path(__file__).with_name("protocol.schema.json").read_text())
CHECKS = {verb: jsonschema.Draft202012Validator(SCHEMA["verbs"][verb]) for verb in SCHEMA["verbs"]}
LARGEST = 16 * 2**30


class Gone(Exception):
    """There is no group any more."""


class OutOfMemory(Exception):
    """A micro-batch did not fit."""


def is_memory(error: Exception) -> bool:
    """Whether there was no room: on a processor torch says so in words alone."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


STATUS = {Refused: 422, Restarted: 409, Gone: 503, OutOfMemory: 507}


def serve(host: str, port: int, token: str, call, health, idle_seconds: float):
    """Serves until nobody has called for so long. call(verb, data) → bytes of a reply; health() → JSON. Yields the port first."""
    last = [time.monotonic()]
    open_calls = [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            # A reply's header and body go out as two packets: without this the second waits for the first one's answer.
            self.connection.setsockopt(6, 1, 1)

        def log_message(self, *_):
            pass

        def reply(self, status: int, data: bytes, kind: str):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            if self.close_connection:  # said, so that the caller sends nothing more on it
                self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(data)

        def fail(self, status: int, words: str):
            self.reply(status, json.dumps({"error": words[:4000]}).encode(), "application/json")

        def admitted(self, length: int = 0) -> bool:
            given = self.headers.get("authorization", "")
            if hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                last[0] = time.monotonic()
                return True
            self.close_connection = True
            # A reply to a call that is still being sent would be lost; more than this of a stranger's is not read.
            self.rfile.read(min(length, 1 << 20))
            self.fail(401, "no token, or a wrong one")
            return False

        def do_GET(self):
            if not self.admitted():
                return
            if self.path != "/v1/health":
                return self.fail(404, f"there is no {self.path}")
            self.reply(200, json.dumps(health()).encode(), "application/json")

        def do_POST(self):
            length = int(self.headers.get("content-length", "0"))
            if not self.admitted(length):
                return
            verb = self.path.removeprefix("/v1/")
            if verb not in CHECKS or length > LARGEST:
                self.close_connection = True
                return self.fail(404 if verb not in CHECKS else 413, f"there is no verb {verb}, or its body is too large")
            data = self.rfile.read(length)
            open_calls[0] += 1
            try:
                meta, _ = body.read(data)
                error = jsonschema.exceptions.best_match(CHECKS[verb].iter_errors(meta))
                if error:
                    raise Refused(f"{'.'.join(map(str, error.absolute_path)) or verb}: {error.message}")
                self.reply(200, call(verb, data), "application/octet-stream")
            except tuple(STATUS) as error:
                self.fail(next(code for kind, code in STATUS.items() if isinstance(error, kind)), str(error))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:  # Told to the caller, who knows what it asked for.
                self.fail(500, f"{type(error).__name__}: {error}")
            finally:
                open_calls[0] -= 1
                last[0] = time.monotonic()

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    while open_calls[0] > 0 or time.monotonic() - last[0] < idle_seconds:
        time.sleep(min(1.0, idle_seconds / 4))
    server.shutdown()

"""Tells weights from others of the same shape: the same digest as Tenet makes of the files that it has."""

import hashlib
import json
from pathlib import Path

SAMPLED = 1 << 20


def weights(folder: str) -> str | None:
    """SHA-256 over name and size of each .safetensors file and three stretches of it; nothing where there is none here."""
    files = sorted(Path(folder).glob("*.safetensors"), key=lambda path: path.name)
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(json.dumps([path.name, size], separators=(",", ":"), ensure_ascii=False).encode())
        with path.open("rb") as file:
            for start in dict.fromkeys((0, size // 2, max(0, size - SAMPLED))):
                file.seek(start)
                digest.update(file.read(min(SAMPLED, size - start)))
    return digest.hexdigest()

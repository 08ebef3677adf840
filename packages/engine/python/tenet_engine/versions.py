"""What this runs with."""

import platform
from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("torch", "transformers", "peft", "safetensors", "ray"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # a plain process has no Ray
    return found

"""Where the model of a specification lies."""

from pathlib import Path


def model_folder(model: str) -> str:
    """A folder that was sent along with this program, or else the path as it is given."""
    sent = Path(__file__).parent.parent / model
    return str(sent) if sent.is_dir() else model

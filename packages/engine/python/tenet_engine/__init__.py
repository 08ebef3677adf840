"""A frozen transformer with adapters, served to Tenet: log-probabilities, their vector-Jacobian products, AdamW. No loss is known here."""

PROTOCOL = 2


class Restarted(Exception):
    """What the caller put is not here: the group was started again since. Everything goes on from the caller's last checkpoint."""


class Refused(Exception):
    """A request that cannot be carried out: the caller's fault, and nothing has changed."""

"""A frozen transformer with adapters, served to Tenet: log-probabilities, their vector-Jacobian products, AdamW. No loss is known here."""

PROTOCOL = 1


class Refused(Exception):
    """A request that cannot be carried out: the caller's fault, and nothing has changed."""

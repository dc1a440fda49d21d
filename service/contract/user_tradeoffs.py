"""A user's own tradeoff in the store: decimal digits under a key of its own.

It has no end: it is what a person chose, and goes with the user.
"""

from __future__ import annotations


def tradeoff_key(namespace: str, user_id: str) -> str:
    """Return the key of a user's own tradeoff.

    No space begins with an underscore: the key is not taken for a record's.
    """
    return f"{namespace}:_tradeoff:{user_id}"


def encode(tradeoff: float) -> str:
    """Return what the store holds of a tradeoff; it decodes to the same number."""
    return repr(tradeoff)


def decode(value: bytes) -> float | None:
    """Return the tradeoff in [0, 1], None if the value is corrupt."""
    try:
        tradeoff = float(value)
    except ValueError:
        return None
    return tradeoff if 0 <= tradeoff <= 1 else None

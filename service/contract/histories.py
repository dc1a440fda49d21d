"""A stored history: the items that a user engaged with lately, the newest last.

It is kept once for all models, as MessagePack: a list of pairs of an item and a time, each item
once, with the time of its last engagement. A model uses the entries that are newer than its
training.
"""

from __future__ import annotations

import msgspec

MAX_HISTORY = 500  # items; older ones leave

Engagement = tuple[str, int]  # item_id, Unix time in milliseconds

_decoder = msgspec.msgpack.Decoder(list[Engagement])


def decode(history: bytes) -> list[Engagement] | None:
    """Return the engagements of a stored history, oldest first; None if it is corrupt."""
    try:
        return _decoder.decode(history)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None

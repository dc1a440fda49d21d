"""What comes back from a feed: decisions and events, their streams, and stored histories.

A **decision** is one ranking as shown, an **event** what its user did. Both wait in streams of the
store, one entry each with the JSON below in the field ``record``, until ``collect`` has written
them to files. A decision and its events are in the same shard.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from service.contract.assignment import unit_hash
from service.contract.keys import MAX_ID_CHARS

FORGOTTEN_S = 30 * 86_400
RECORD = b"record"  # the field of a stream's entry
MAX_SHARDS = 64
MAX_TRADEOFFS = 63  # of a grid, and the default: the bits of ``Decision.stands``
KINDS = r"^[a-z][a-z0-9_]{0,31}$"
VIEW, CLICK = "view", "click"  # the kinds that everything knows; others are the product's own

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
# How a decision was drawn; "both": a uniform slot in a ranking at a randomised tradeoff.
Policy = Literal["fixed", "uniform_slot", "randomised_tradeoff", "both"]

_SALT = "feedback"


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One ranking as shown: its first K places.

    ``item_ids``, ``scores`` and ``propensities`` (K,) are in the order shown. A propensity is the
    exact probability that the policy puts this item at this place, over its draws and given the
    request. ``tradeoff`` is the one applied. ``slot`` is the place, from 0, of the item that was
    drawn uniformly from the pool; None where there is none.

    Where the tradeoff was drawn, ``tradeoffs`` (T,) are those that could have been, with their
    ``chances`` (T,), and bit t of ``stands`` (K,) says whether the item at a place has that rank at
    tradeoff t before a slot: what every tradeoff would have shown is known without another ranking.
    Where there is a uniform slot, it is one of the first ``slot_places``, and ``listed`` are the
    ids that made the pool if ``pool_known``: the candidates, or what the catalogue leaves out.
    """

    request_id: str
    time_ms: int  # Unix time
    user_id: str
    model: str  # name@version
    tradeoff: float
    arm: str | None = None
    policy: Policy = "fixed"
    pool: Literal["candidates", "catalogue"]
    pool_size: int
    seed: int | None = None
    slot: int | None = None
    degraded: tuple[str, ...] = ()
    item_ids: list[str]
    scores: list[float]
    propensities: list[float]
    tradeoffs: tuple[float, ...] = ()
    chances: tuple[float, ...] = ()
    stands: tuple[int, ...] = ()
    slot_places: int = 0
    listed: tuple[str, ...] = ()
    pool_known: bool = False


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that a user did with an item that a ranking showed.

    Equal events count once: the same request, item, kind and time.
    """

    request_id: Id
    item_id: Id
    kind: Annotated[str, Meta(pattern=KINDS)]
    value: Annotated[float, Meta(ge=-1e9, le=1e9)] = 1.0
    time_ms: int  # Unix time
    user_id: Id | None = None


_decision_decoder = msgspec.json.Decoder(Decision)
_event_decoder = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()


def encode(record: Decision | Event) -> bytes:
    """Return the JSON of a stream's entry."""
    return _encoder.encode(record)


def decode_decision(record: bytes) -> Decision:
    """Return a decision; raises msgspec.DecodeError for anything else."""
    return _decision_decoder.decode(record)


def decode_event(record: bytes) -> Event:
    """Return an event; raises msgspec.DecodeError for anything else."""
    return _event_decoder.decode(record)


def shard_of(request_id: str, shards: int) -> int:
    """Return the shard of a decision and of its events."""
    return int(unit_hash(_SALT, request_id) * shards)


def decisions_key(namespace: str, shard: int = 0) -> str:
    """Return the stream of decisions of a shard; a cluster has shards on different nodes."""
    return f"{_tag(namespace, shard)}:decisions"


def events_key(namespace: str, shard: int = 0) -> str:
    """Return the stream of events of a shard."""
    return f"{_tag(namespace, shard)}:events"


def writer_key(stream: str, writer: str) -> str:
    """Return the key of the last batch that ``writer`` has put into ``stream``, in its slot."""
    return f"{stream}:writer:{writer}"


def history_key(namespace: str, user_id: str) -> str:
    """Return the key of the items that a user engaged with since the last training.

    No space begins with an underscore: the key is not taken for a record's.
    """
    return f"{namespace}:_history:{user_id}"


def forgotten_key(namespace: str) -> str:
    """Return the sorted set of users to remove from the files: id -> Unix time in milliseconds.

    What a user did until then is forgotten. ``collect`` removes an id once the files lack the user;
    the whole set goes ``FORGOTTEN_S`` after the last one joined it, for there may be no worker.
    """
    return f"{{{namespace}}}:forgotten"


def counting_key(namespace: str) -> str:
    """Return the key that is held by the worker that writes the counted proxies."""
    return f"{{{namespace}}}:counting"


def _tag(namespace: str, shard: int) -> str:
    return f"{{{namespace}:{shard}}}" if shard else f"{{{namespace}}}"

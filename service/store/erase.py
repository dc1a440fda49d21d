"""The deletion of a user: all that the store holds of one person."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Container, Sequence
from dataclasses import dataclass

import msgspec

from service.contract.feedback import (
    FORGOTTEN_S,
    MAX_SHARDS,
    RECORD,
    decisions_key,
    decode_decision,
    decode_event,
    events_key,
    forgotten_key,
    history_key,
)
from service.contract.keys import Keys, user_mark
from service.contract.user_changes import announce_users
from service.contract.user_tradeoffs import tradeoff_key
from service.store.failures import mapped
from service.store.live import LiveStore

_CHUNK = 500  # entries of a stream that are read at once: a millisecond of the event loop


@dataclass(frozen=True)
class Erased:
    """What was deleted: user records, history and tradeoff (0 or 1), decisions and events."""

    records: int
    histories: int
    tradeoffs: int
    decisions: int
    events: int


async def erase_user(
    store: LiveStore, namespace: str, keys: Sequence[Keys], user_id: str
) -> Erased:
    """Delete a user's records in the spaces of ``keys``, history, tradeoff, decisions and events.

    An event without a user belongs to the user of its decision, as long as that is in the stream
    too. Publications leave the user out from now on, and ``collect`` removes what its files hold.
    May be repeated. Raises StoreError, and PublishingError if a publication that may write the user
    is running: what is deleted by then stays deleted.
    """
    held = sorted({names.publishing(names.spaces.users) for names in keys})
    with store.timed("erase"), mapped():
        await store.check_free(held)
        for marks in {names.deleted_users for names in keys}:
            await store.redis.sadd(marks, user_mark(user_id))
        forgotten = forgotten_key(namespace)
        await store.redis.zadd(forgotten, {user_id: int(time.time() * 1000)})
        await store.redis.expire(forgotten, FORGOTTEN_S)
        records = 0
        for name in {names.user(user_id) for names in keys}:
            records += await store.redis.delete(name)
        histories = await store.redis.delete(history_key(namespace, user_id))
        tradeoffs = await store.redis.delete(tradeoff_key(namespace, user_id))
        announcement = store.redis.pipeline(transaction=False)
        announce_users(announcement, namespace, [user_id])
        await announcement.execute()
        store.users_in_memory.forget([user_id])  # before the announcement is back
        decisions = events = 0
        for shard in range(MAX_SHARDS):
            of_shard = await _erase_feedback(store, namespace, shard, user_id)
            decisions, events = decisions + of_shard[0], events + of_shard[1]
        await store.check_free(held)  # one that began before the marks does not know of them
    return Erased(records, histories, tradeoffs, decisions, events)


async def _erase_feedback(
    store: LiveStore, namespace: str, shard: int, user_id: str
) -> tuple[int, int]:
    """Delete a user's decisions and events of a shard; return their numbers."""
    named = msgspec.json.encode(user_id)  # as it stands in every record of the user
    stream = decisions_key(namespace, shard)
    request_ids, entries = set[str](), list[bytes]()
    async for entry, record in _entries(store, stream):
        if named in record and (request_id := _request_of(record, user_id)) is not None:
            request_ids.add(request_id)
            entries.append(entry)
    # The events first: without the decisions a repeated call would not find them.
    of_user = [
        entry
        async for entry, record in _entries(store, events_key(namespace, shard))
        if (request_ids or named in record) and _is_event_of(record, user_id, request_ids)
    ]
    events = await _delete(store, events_key(namespace, shard), of_user)
    return await _delete(store, stream, entries), events


async def _entries(store: LiveStore, stream: str) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yield the id and the record of each entry of a stream."""
    start = "-"
    while entries := await store.redis.xrange(stream, min=start, count=_CHUNK):
        for entry, fields in entries:
            yield entry, fields.get(RECORD, b"")
        start = f"({entries[-1][0].decode()}"


async def _delete(store: LiveStore, stream: str, entries: Sequence[bytes]) -> int:
    deleted = 0
    for start in range(0, len(entries), _CHUNK):
        deleted += await store.redis.xdel(stream, *entries[start : start + _CHUNK])
    return deleted


def _request_of(record: bytes, user_id: str) -> str | None:
    """Return the request of a decision for the user, None for any other record."""
    try:
        decision = decode_decision(record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return decision.request_id if decision.user_id == user_id else None


def _is_event_of(record: bytes, user_id: str, request_ids: Container[str]) -> bool:
    try:
        event = decode_event(record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return event.user_id == user_id or event.request_id in request_ids

"""The streams of decisions and events: reading them as one group, and trimming what files hold.

All workers read as one consumer, because the lock of a shard lets one at a time read it. What that
consumer has not acknowledged is then exactly what a killed worker left: no time has to pass before
another one takes it over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from service.contract.feedback import MAX_SHARDS, decisions_key, events_key
from training.feed.log_files import DECISIONS, EVENTS, EntryId
from training.feed.records import Entry, parse_entry, parse_id
from training.release.store import Client

GROUP = "paretorank-collect"
_CONSUMER = "collect"
KINDS = {DECISIONS: decisions_key, EVENTS: events_key}


@dataclass(frozen=True)
class Standing:
    """How far the group is in a stream.

    entries: those that are not acknowledged yet; oldest: the first of them. dropped: those that the
    stream's bound removed before anybody read them, as far as the store can tell.
    """

    entries: int
    oldest: EntryId | None
    dropped: int


class Stream:
    """One shard's stream of decisions or of events."""

    def __init__(self, client: Client, namespace: str, kind: str, shard: int) -> None:
        self._client: Any = client
        self.kind, self.shard = kind, shard
        self.key = KINDS[kind](namespace, shard)

    def join(self) -> Standing:
        """Return how far the group is; one that does not exist is made, at the first entry."""
        groups = self._groups()
        if GROUP not in groups:
            try:
                self._client.xgroup_create(self.key, GROUP, id="0")
            except redis.ResponseError as error:  # another worker was faster
                if "BUSYGROUP" not in str(error):
                    raise
            groups = self._groups()
        group, info = groups[GROUP], self._client.xinfo_stream(self.key)
        unread = group.get("lag")
        return Standing(
            entries=group["pending"]
            + min(info["length"] if unread is None else unread, info["length"]),
            oldest=self._oldest(group),
            dropped=_dropped(group, info),
        )

    def pending(self, count: int) -> tuple[list[Entry], list[bytes]]:
        """Return up to ``count`` entries that were read and not acknowledged, and their ids."""
        return self._read("0", count)

    def new(self, count: int) -> tuple[list[Entry], list[bytes]]:
        """Return up to ``count`` entries that nobody read yet, and their ids."""
        return self._read(">", count)

    def acknowledge(self, ids: Sequence[bytes]) -> None:
        """Let the group forget entries that the files hold."""
        self._client.xack(self.key, GROUP, *ids)

    def trim(self) -> int:
        """Remove the entries that every group of the stream has acknowledged; return how many."""
        ends = []
        for group in self._groups().values():
            millis, sequence = parse_id(group["last-delivered-id"])
            ends.append(self._oldest(group) or (millis, sequence + 1))
        if not ends:
            return 0
        millis, sequence = min(ends)
        trimmed = self._client.xtrim(self.key, minid=f"{millis}-{sequence}", approximate=False)
        return int(trimmed)

    def _oldest(self, group: dict[str, Any]) -> EntryId | None:
        """Return the first entry that a group has not acknowledged, None if there is none."""
        if group["pending"]:
            pending = self._client.xpending(self.key, group["name"])["min"]
            if pending is not None:  # else acknowledged since
                return parse_id(pending)
        after = b"(" + group["last-delivered-id"]
        entries = self._client.xrange(self.key, min=after, count=1)
        return parse_id(entries[0][0]) if entries else None

    def _groups(self) -> dict[str, dict[str, Any]]:
        groups = self._client.xinfo_groups(self.key)
        return {group["name"].decode(): group for group in groups}

    def _read(self, start: str, count: int) -> tuple[list[Entry], list[bytes]]:
        """Return entries and all ids; an entry that the stream has lost meanwhile is only an id."""
        reply = self._client.xreadgroup(GROUP, _CONSUMER, {self.key: start}, count=count)
        entries = reply[0][1] if reply else []
        return [parse_entry(entry) for entry in entries if entry[1]], [e[0] for e in entries]


def streams(client: Client, namespace: str) -> list[Stream]:
    """Return the streams that exist, by shard, decisions first."""
    possible = [
        Stream(client, namespace, kind, shard) for shard in range(MAX_SHARDS) for kind in KINDS
    ]
    pipeline = client.pipeline(transaction=False)
    for stream in possible:
        pipeline.exists(stream.key)
    present = pipeline.execute()
    return [stream for stream, exists in zip(possible, present, strict=True) if exists]


def _dropped(group: dict[str, Any], info: dict[str, Any]) -> int:
    """Return how many entries vanished unread: the store counts all that it ever added or gave."""
    read, added = group.get("entries-read"), info.get("entries-added")  # from Redis 7 on
    first = info["first-entry"]
    delivered = parse_id(group["last-delivered-id"])
    if read is None or added is None or first is None or parse_id(first[0]) <= delivered:
        return 0  # what is left begins with entries that were read
    if parse_id(info["max-deleted-entry-id"]) >= delivered:
        return 0  # entries were deleted one by one: a user's
    return max(0, int(added - read - info["length"]))

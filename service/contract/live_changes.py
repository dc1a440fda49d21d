"""What a change of items writes to the store besides records, for publications and live changes.

A **live change** writes or removes some items and leaves the others alone. Its records, the lists
of the catalogue and the announcements to services are one transaction. In a cluster, records are on
several nodes: they follow the note of the change and precede its announcement, so that a change
that is cut off can be repeated, and no publication takes its records for published ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.contract.keys import Keys

# Entries of a change stream, of up to 1,000 ids each. A service that missed one reads all anew.
_STREAM_LENGTH = 10_000
_IDS = "ids"


class Commands(Protocol):
    """A pipeline of redis-py, sync or async, that takes commands."""

    def sadd(self, name: str, *values: str) -> Any:
        """Add to a set."""

    def srem(self, name: str, *values: str) -> Any:
        """Remove from a set."""

    def xadd(self, name: str, fields: Any, *, maxlen: int, approximate: bool) -> Any:
        """Append to a stream."""

    def expire(self, name: str, time: int) -> Any:
        """Let a key go after a time in seconds."""


def announce(commands: Commands, stream: str, item_ids: Sequence[str]) -> Any:
    """Tell services that the records of items have changed; return the answer of ``commands``."""
    return append(commands, stream, {_IDS: "\n".join(item_ids)})


def append(commands: Commands, stream: str, fields: Mapping[str, str | bytes]) -> Any:
    """Append to a change stream of bounded length; return the answer of ``commands``."""
    return commands.xadd(stream, dict(fields), maxlen=_STREAM_LENGTH, approximate=True)


def announced(fields: Mapping[bytes, bytes]) -> list[str]:
    """Return the items that an entry of a change stream names."""
    joined = fields.get(_IDS.encode(), b"").decode(errors="replace")
    return [item_id for item_id in joined.split("\n") if item_id]


def list_items(commands: Commands, keys: Keys, item_ids: Sequence[str]) -> None:
    """Add items to the catalogue and announce them."""
    commands.sadd(keys.catalog, *item_ids)
    announce(commands, keys.item_changes, item_ids)


@dataclass(frozen=True, kw_only=True)
class LiveChange:
    """A live change of one model: records by item id, and the items to remove.

    An item has a record in both of ``items`` and ``titles`` or in none. The proxies of a removed
    item stay, because models share them; ``prune`` removes those that no catalogue lists.
    """

    keys: Keys
    items: Mapping[str, bytes] = field(default_factory=dict)
    titles: Mapping[str, bytes] = field(default_factory=dict)
    proxies: Mapping[str, bytes] = field(default_factory=dict)
    removed: Sequence[str] = ()

    def records(self) -> dict[str, bytes]:
        """Return the records to write, by key."""
        keys = self.keys
        kinds = ((keys.proxies, self.proxies), (keys.titles, self.titles), (keys.items, self.items))
        return {
            name: record
            for key, records in kinds
            for name, record in zip(key(list(records)), records.values(), strict=True)
        }

    def unneeded(self) -> list[str]:
        """Return the keys to delete."""
        return [*self.keys.items(self.removed), *self.keys.titles(self.removed)]

    def note(self, commands: Commands) -> None:
        """Note that records are no longer those that were published."""
        spaces = self.keys.spaces
        if item_ids := [*self.items, *self.removed]:
            commands.sadd(self.keys.live(spaces.items), *item_ids)
        if self.proxies:
            commands.sadd(self.keys.live(spaces.proxies), *self.proxies)

    def finish(self, commands: Commands) -> None:
        """Bring the catalogue up to date and announce what has changed."""
        if self.proxies:
            announce(commands, self.keys.proxy_changes, list(self.proxies))
        if self.items:
            list_items(commands, self.keys, list(self.items))
        if self.removed:
            unlist_items(commands, self.keys, self.removed)


def unlist_items(commands: Commands, keys: Keys, item_ids: Sequence[str]) -> None:
    """Remove items from the catalogue and announce it."""
    commands.srem(keys.catalog, *item_ids)
    announce(commands, keys.item_changes, item_ids)


def owner_of(value: object) -> str | None:
    """Return who is changing a space and since when, from the value of the key that is held.

    None if nobody is.
    """
    if not isinstance(value, bytes):
        return None
    try:
        owner = json.loads(value)
        return f"{owner['owner']}, since {owner['since']}"
    except (ValueError, TypeError, KeyError):
        return "another program"

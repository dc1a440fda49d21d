"""Reads of change streams, and whether changes may have been lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_FIRST = "0-0"


@dataclass(frozen=True)
class ChangesRead:
    """One read of change streams: its entries' fields, and the ``position`` of the next read.

    ``gap`` is True where changes may have been lost, because entries were trimmed before they
    were read or a stream was lost and begun anew. ``oldest_ms`` is the Unix time, by the store's
    clock, at which the oldest entry was appended; None without entries.
    """

    entries: tuple[Mapping[bytes, bytes], ...]
    position: tuple[str, ...]
    gap: bool
    oldest_ms: int | None = None


class ChangeStreams:
    """Reads streams through a client whose answers may take ``block_ms`` longer than others."""

    def __init__(self, client: Any, block_ms: int) -> None:
        self._redis = client
        self._block_ms = block_ms

    async def ends(self, streams: Sequence[str]) -> tuple[str, ...]:
        """Return the position after the last entry of each stream."""
        position = []
        for stream in streams:
            last = await self._redis.xrevrange(stream, count=1)
            position.append(last[0][0].decode() if last else _FIRST)
        return tuple(position)

    async def read(
        self, streams: Sequence[str], position: Sequence[str], most: int = 100
    ) -> ChangesRead:
        """Return up to ``most`` entries of each stream after ``position``.

        Waits up to ``block_ms`` if there are none.
        """
        reply = await self._redis.xread(
            dict(zip(streams, position, strict=True)), count=most, block=self._block_ms
        )
        entries = {stream.decode(): batch for stream, batch in reply}
        gap, read, announced_ms, after = False, [], [], list(position)
        for index, stream in enumerate(streams):
            gap |= await self._is_gone(stream, position[index], stream in entries)
            for entry_id, fields in entries.get(stream, ()):
                after[index] = entry_id.decode()
                announced_ms.append(int(after[index].partition("-")[0]))
                read.append(fields)
        return ChangesRead(tuple(read), tuple(after), gap, min(announced_ms, default=None))

    async def _is_gone(self, stream: str, entry: str, has_more: bool) -> bool:
        """Return whether the last entry that was read has left the stream.

        It was trimmed, and perhaps later ones with it; or the stream was lost; or the store fell
        back to an older state, as a replica that takes over may. A stream that was empty has a gap
        once it has entries: there may have been earlier ones.
        """
        if entry == _FIRST:
            return has_more
        return not await self._redis.xrange(stream, min=entry, max=entry, count=1)

"""Users in memory: what the store holds of recently seen users, so that it need not be read."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from service.contract.records import decode_vector
from service.telemetry import Telemetry

# Bytes of a user's entry besides its parts: places in the dictionaries, key, objects, array.
ENTRY_BYTES = 600
# The longest that a user stays without being read again. No announcement says that a stored
# history has expired, and versions of the service before there was a stream announce nothing.
OLDEST_S = 300.0

_Key = tuple[str, str]  # space, user_id


class StoredUser(Struct, gc=False):
    """What the store holds of a user, in parts as they are stored; None where there is none."""

    record: bytes | None = None
    history: bytes | None = None
    tradeoff: bytes | None = None
    _vector: NDArray[np.float32] | None = None

    def vector(self, length: int) -> NDArray[np.float32] | None:
        """Return the values (1, ``length``) of the record, None without a valid one."""
        vector = self._vector
        if vector is None or vector.shape[1] != length:
            if self.record is None:
                return None
            vector = self._vector = decode_vector(self.record, length)
        return vector

    @property
    def nbytes(self) -> int:
        """The bytes of the parts."""
        return sum(len(part or b"") for part in (self.record, self.history, self.tradeoff))


class Reading(Struct):
    """A read of one user that is in flight; ``holds`` unless the user has changed since it began.

    ``count`` reads share one.
    """

    key: _Key
    holds: bool = True
    count: int = 0


class _Entry(Struct, gc=False):
    user: StoredUser
    until_s: float
    nbytes: int


class UserMemory:
    """Holds users of all spaces in at most ``max_bytes``; the least recently used ones leave.

    It has users only while it is followed: ``follow`` begins that, ``trust`` prolongs it, ``lose``
    ends it. A read that began before its user was announced is not kept, however late it ends. All
    methods run on the event loop and return at once.
    """

    def __init__(
        self,
        max_bytes: int,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._telemetry = telemetry
        self._clock = clock
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._reading: dict[_Key, Reading] = {}
        self._spaces: set[str] = set()
        self.is_followed = False
        self._trusted_until_s = 0.0
        self._nbytes = 0
        self._hits = self._misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, space: str, user_id: str) -> StoredUser | None:
        """Return what is held of a user, None if nothing that may still be used."""
        entry = self._entries.get((space, user_id))
        if entry is not None:
            now_s = self._clock()
            if now_s < self._trusted_until_s and now_s < entry.until_s:
                self._entries.move_to_end((space, user_id))
                self._hits += 1
                return entry.user
        self._misses += 1
        return None

    def begin(self, space: str, user_id: str) -> Reading | None:
        """Begin a read of the store; None while nothing is kept."""
        if not self.is_followed:
            return None
        key = (space, user_id)
        reading = self._reading.get(key)
        if reading is None:
            self._spaces.add(space)
            reading = self._reading[key] = Reading(key)
        reading.count += 1
        return reading

    def keep(self, reading: Reading, user: StoredUser) -> None:
        """Keep what a read has brought, unless the user has changed since the read began."""
        if not reading.holds:
            return
        nbytes = ENTRY_BYTES + user.nbytes + len(reading.key[1])
        if nbytes > self._max_bytes:
            return
        self._drop(reading.key)
        self._entries[reading.key] = _Entry(user, self._clock() + OLDEST_S, nbytes)
        self._nbytes += nbytes
        while self._nbytes > self._max_bytes:
            _, entry = self._entries.popitem(last=False)
            self._nbytes -= entry.nbytes
            self._telemetry.user_memory_evicted.inc()

    def end(self, reading: Reading) -> None:
        """End a read, whatever became of it."""
        reading.count -= 1
        if not reading.count and self._reading.get(reading.key) is reading:
            del self._reading[reading.key]

    def forget(self, user_ids: Iterable[str]) -> None:
        """Drop users who have changed, from all spaces."""
        for user_id in user_ids:
            for space in self._spaces:
                key = (space, user_id)
                self._drop(key)
                if (reading := self._reading.pop(key, None)) is not None:
                    reading.holds = False

    def forget_space(self, space: str) -> None:
        """Drop all users if any may be of a space that has changed."""
        if space in self._spaces:
            self.clear()

    def clear(self) -> None:
        """Drop all users."""
        for reading in self._reading.values():
            reading.holds = False
        self._reading.clear()
        self._entries.clear()
        self._spaces.clear()
        self._nbytes = 0

    def follow(self, until_s: float) -> None:
        """Begin to keep users: all changes from now on will be announced."""
        self.clear()
        self.is_followed = True
        self.trust(until_s)
        self._telemetry.user_memory_followed.set(1)

    def trust(self, until_s: float) -> None:
        """Let users be used until ``until_s`` by the clock."""
        self._trusted_until_s = until_s

    def lose(self) -> None:
        """Drop all users and keep none until ``follow``."""
        self.is_followed = False
        self._trusted_until_s = 0.0
        self.clear()
        self._telemetry.user_memory_followed.set(0)

    def report(self) -> None:
        """Bring the metrics up to date: a hit costs less than a metric."""
        self._telemetry.user_memory_reads["hit"].inc(self._hits)
        self._telemetry.user_memory_reads["miss"].inc(self._misses)
        self._hits = self._misses = 0
        self._telemetry.user_memory_users.set(len(self._entries))
        self._telemetry.user_memory_bytes.set(self._nbytes)

    def _drop(self, key: _Key) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._nbytes -= entry.nbytes

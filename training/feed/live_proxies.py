"""Live proxies: what the files count, written to the records of every model that has them.

Other programs write these records too: publications, and the service's routes. A record is replaced
only if it is still the one that was read. Announced records are read again.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import redis
from redis.exceptions import LockError

from service.contract.feedback import counting_key
from service.contract.keys import Keys
from service.contract.live_changes import announce, announced
from service.contract.records import decode, encode
from training.feed.counts import LiveCounts
from training.feed.log_files import LogFolder
from training.feed.new_events import NewEvents
from training.feed.specification import Feed
from training.feed.targets import Target
from training.release.store import Client

_LEASE_S = 15.0
_BATCH = 1000
_REPLACE = (  # a transaction that watches every key would take as many round trips
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
    "redis.call('SET', KEYS[1], ARGV[2]) return 1"
)


class LiveProxies:
    """Keeps counted proxies up to date; of several workers one at a time does."""

    def __init__(
        self, feed: Feed, files: LogFolder, targets: Callable[[], list[Target]], namespace: str
    ) -> None:
        self._feed, self._files, self._served = feed, files, targets
        self._namespace = namespace
        self._token = uuid.uuid4().hex
        self._leads = False
        self._writers: dict[str, _SpaceWriter] = {}
        self._begin()

    def step(self, client: Client, now_ms: int) -> int:
        """Count what is new and write what changed; return the number of records written.

        Does nothing while another worker does it. A step after one that failed, or that another
        worker did, compares all records.
        """
        if not self._leads:
            self._writers.clear()
        self._leads = False
        if not self._lead(client):
            return 0
        if self._files.rewritten_ns() != self._rewritten_ns:
            self._begin()
        rows = self._events.read(now_ms)
        if len(rows):
            self._counts.add(rows)
        self._counts.advance(now_ms // self._feed.bucket)
        changed = self._counts.take_changed()
        written = 0
        for target in self._served():
            space = target.spaces.proxies
            if space not in self._writers:
                self._writers[space] = _SpaceWriter(client, self._namespace, target, self._feed)
            self._writers[space].changed |= changed
            written += self._writers[space].write(client, self._counts)
        self._leads = True
        return written

    def release(self, client: Client) -> None:
        """Let another worker go on at once."""
        if self._leads:
            with contextlib.suppress(LockError):
                self._lock(client).release()

    def _begin(self) -> None:
        """Count from the files, from scratch."""
        self._rewritten_ns = self._files.rewritten_ns()
        self._events, self._counts = NewEvents(self._files, self._feed), LiveCounts(self._feed)
        self._writers.clear()

    def _lead(self, client: Client) -> bool:
        lock = self._lock(client)
        try:
            return bool(lock.reacquire())
        except LockError:
            return bool(lock.acquire(token=self._token))

    def _lock(self, client: Client) -> Any:
        lock = client.lock(counting_key(self._namespace), timeout=_LEASE_S, blocking=False)
        lock.local.token = self._token.encode()
        return lock


class _SpaceWriter:
    """Writes the counted proxies of one space; at first those of all items."""

    def __init__(self, client: Any, namespace: str, target: Target, feed: Feed) -> None:
        self._keys = Keys(namespace, target.spaces)
        self._length = len(target.names)
        counted = [proxy.name for proxy in feed.proxies]
        both = [name for name in counted if name in target.names]
        self._from = [counted.index(name) for name in both]
        self._to = [target.names.index(name) for name in both]
        newest = client.xrevrange(self._keys.proxy_changes, count=1)
        self._last: bytes = newest[0][0] if newest else b"0-0"
        self._own: set[bytes] = set()
        members = client.sscan_iter(self._keys.catalog, count=_BATCH)
        self.changed = {member.decode(errors="replace") for member in members}

    def write(self, client: Any, counts: LiveCounts) -> int:
        """Write the records of changed items that differ from ``counts``; return how many."""
        self._follow(client)
        item_ids = sorted(self.changed)
        self.changed.clear()
        written = 0
        for start in range(0, len(item_ids), _BATCH):
            written += self._write(client, item_ids[start : start + _BATCH], counts)
        return written

    def _follow(self, client: Any) -> None:
        """Mark the items whose records others announced."""
        while reply := client.xread({self._keys.proxy_changes: self._last}, count=_BATCH):
            for entry_id, fields in reply[0][1]:
                self._last = entry_id
                if entry_id not in self._own:
                    self.changed |= set(announced(fields))
                self._own.discard(entry_id)

    def _write(self, client: Any, item_ids: Sequence[str], counts: LiveCounts) -> int:
        keys = self._keys.proxies(item_ids)
        clustered = isinstance(client, redis.RedisCluster)
        before = client.mget_nonatomic(keys) if clustered else client.mget(keys)
        records = decode(before, self._length, allow_nan=True)
        values = records.values.copy()
        values[:, self._to] = counts.values(list(item_ids))[:, self._from]
        equal = ((values == records.values) | (np.isnan(values) & np.isnan(records.values))).all(1)
        rows = np.flatnonzero(records.present & ~records.corrupt & ~equal).tolist()
        if not rows:
            return 0
        pipeline = client.pipeline(transaction=False)
        for row, record in zip(rows, encode(values[rows]), strict=True):
            pipeline.execute_command("EVAL", _REPLACE, 1, keys[row], before[row], record)
        replies = pipeline.execute()
        done = [item_ids[row] for row, reply in zip(rows, replies, strict=True) if reply]
        self.changed |= {item_ids[row] for row in rows} - set(done)
        if done:
            self._own.add(announce(client, self._keys.proxy_changes, done))
        return len(done)

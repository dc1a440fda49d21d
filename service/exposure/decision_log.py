"""The decision log: rankings as shown, written to the store's streams behind the requests."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from service.contract.feedback import Decision, decisions_key, encode
from service.errors import StoreError
from service.settings import Settings
from service.store.feedback import Batch, FeedbackStreams
from service.telemetry import Telemetry

log = logging.getLogger(__name__)


class DecisionLog:
    """Queues decisions, and writes them in batches.

    A batch that the store does not take is tried again: it is written once, and the queue grows
    meanwhile. What does not fit into the queue is dropped.
    """

    def __init__(self, settings: Settings, streams: FeedbackStreams, telemetry: Telemetry) -> None:
        self._namespace = settings.namespace
        self._limit = settings.decision_queue
        self._most = settings.decision_batch
        self._pause_s = settings.decision_flush_s
        self._streams = streams
        self._telemetry = telemetry
        self._queue: deque[Decision] = deque()
        self._batches: deque[Batch] = deque()  # of different streams, not written yet
        self._number = 0
        self._fails = False

    def add(self, decision: Decision) -> None:
        """Queue a decision, or drop it if the queue is full."""
        if len(self._queue) < self._limit:
            self._queue.append(decision)
        else:
            self._telemetry.decisions_dropped["store" if self._fails else "full"].inc()

    async def run(self) -> None:
        """Write without end."""
        while True:
            await asyncio.sleep(self._pause_s)
            try:
                await self._flush()
            except StoreError:
                continue
            except Exception:  # a defect must not end the log
                log.exception("decisions are not written")

    async def close(self, within_s: float) -> None:
        """Write what is left, in at most ``within_s`` seconds, and drop the rest."""
        try:
            async with asyncio.timeout(within_s):
                await self._flush()
        except (StoreError, TimeoutError):
            left = len(self._queue) + sum(len(batch.records) for batch in self._batches)
            self._telemetry.decisions_dropped["store"].inc(left)
            log.warning("%d decisions are lost: the store did not take them in time", left)

    async def _flush(self) -> None:
        """Write all decisions; raises StoreError at the first batch that is not taken."""
        while self._queue or self._batches:
            if not self._batches:
                self._make_batches()
            try:
                await self._streams.append_once(self._batches[0])
            except StoreError as error:
                if not self._fails:
                    log.warning("decisions wait: %s", error.message)
                self._fails = True
                raise
            self._fails = False
            self._telemetry.decisions_written.inc(len(self._batches.popleft().records))

    def _make_batches(self) -> None:
        some = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
        records = self._streams.by_shard((each.request_id, encode(each)) for each in some)
        for shard, of_shard in records.items():
            self._number += 1
            stream = decisions_key(self._namespace, shard)
            self._batches.append(Batch(stream, self._number, of_shard))

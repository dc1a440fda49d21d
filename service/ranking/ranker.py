"""One request from start to end."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.catalog.id_index import MISSING, Rows
from service.catalog.item_table import Pool
from service.contract.records import decode_vector
from service.errors import StoreError, StoreOverloadedError, StoreTimeoutError
from service.models.loaded_model import LoadedModel
from service.models.registry import Registry
from service.models.scorer import RUN_ROWS
from service.ranking.answer import Columns, Question, as_rows, rank_pool
from service.ranking.full_scan import FullScanQueue
from service.ranking.messages import Degraded, RankRequest
from service.ranking.request import Clock
from service.store.records import RedisStore
from service.telemetry import Telemetry

Reasons = frozenset[Degraded]


class Ranker:
    """Ranks candidates for a user at the request's tradeoff."""

    def __init__(
        self, registry: Registry, store: RedisStore, telemetry: Telemetry, scans: FullScanQueue
    ) -> None:
        self._registry = registry
        self._store = store
        self._telemetry = telemetry
        self._scans = scans
        self._degraded = {reason: telemetry.degraded.labels(reason) for reason in Degraded}

    async def rank(self, request: RankRequest, request_id: str) -> dict[str, Any]:
        """Return the response that ``schemas.RankResponse`` documents."""
        clock = Clock(request.deadline_ms, self._store.timeout_s)
        model = self._registry.resolve(request.model)
        tradeoff = request.tradeoff
        if tradeoff is None:
            tradeoff = model.manifest.default_tradeoff
        degraded: Reasons = frozenset()

        # Candidates first: their ids are still in the processor's cache.
        pool = None
        if request.candidates is not None:
            pool, degraded = await self._candidates(model, request, clock)
            clock.lap("catalog")
        user, user_reasons = await self._user(model, request, clock)
        degraded |= user_reasons
        clock.lap("user")
        question = Question(user, tradeoff, request.top_k, request.explain)
        if pool is None:
            if not model.catalog.whole:
                degraded |= {Degraded.PARTIAL_CATALOG}
            columns = await self._rank_all(model, request.exclude, question, clock)
        else:
            columns = rank_pool(model.scorer, pool, question, clock)
        model.exposure.add(tradeoff, request.candidates is None, columns)
        items = columns if request.format == "columns" else as_rows(columns)
        for reason in degraded:
            self._degraded[reason].inc()
        clock.lap("select")
        return {
            "request_id": request_id,
            "model": model.label,
            "tradeoff": tradeoff,
            "items": items,
            "degraded": sorted(degraded),
            "timing_ms": clock.finish(self._telemetry),
        }

    async def _user(
        self, model: LoadedModel, request: RankRequest, clock: Clock
    ) -> tuple[NDArray[np.float32], Reasons]:
        """Return the user vector (1, U): the record's, else from the history, else the average."""
        reasons = set[Degraded]()
        no_such_user = False
        try:
            record = await self._store.user(model.keys, request.user_id, clock.remaining_s())
        except StoreError as error:
            reasons.add(_reason(error, clock))
        else:
            if record is None:
                no_such_user = True
            elif (user := decode_vector(record, model.manifest.user_dim)) is not None:
                return user, frozenset()
            else:
                reasons.add(Degraded.CORRUPT_RECORD)
                self._telemetry.corrupt_records.labels("user").inc()
        rows, row_reasons = await self._rows(model, request.history, clock)
        reasons |= row_reasons
        rows = rows[rows != MISSING]
        self._telemetry.cold_users.labels("history" if len(rows) else "average").inc()
        if len(rows):
            return model.scorer.encode_user(model.catalog.states(rows)), frozenset(reasons)
        if no_such_user:
            reasons.add(Degraded.UNKNOWN_USER)
        return model.average_user, frozenset(reasons)

    async def _candidates(
        self, model: LoadedModel, request: RankRequest, clock: Clock
    ) -> tuple[Pool, Reasons]:
        """Return the distinct candidates less the excluded ones, with their states."""
        item_ids = request.candidates or []
        if request.exclude:
            excluded = set(request.exclude)
            item_ids = [i for i in item_ids if i not in excluded]
        rows, reasons = await self._rows(model, item_ids, clock)
        ascending = rows.copy()
        ascending.sort()
        if (ascending[1:] == ascending[:-1]).any():  # repeats, or several without a row
            item_ids = list(dict.fromkeys(item_ids))
            rows = model.catalog.held_rows(item_ids)
        pool = model.catalog.gather(item_ids, rows)
        if pool.missing:
            self._telemetry.missing_items.inc(len(pool.missing))
        return pool, reasons

    async def _rank_all(
        self,
        model: LoadedModel,
        excluded: list[str],
        question: Question,
        clock: Clock,
    ) -> Columns:
        """Rank all items held; a large catalogue leaves the event loop to other requests."""
        if len(model.catalog) <= RUN_ROWS:
            with model.catalog.scan(excluded) as pool:
                clock.lap("catalog")
                return rank_pool(model.scorer, pool, question, clock)
        async with self._scans.turn():
            with model.catalog.scan(excluded) as pool:
                clock.lap("catalog")
                return await asyncio.to_thread(rank_pool, model.scorer, pool, question, clock)

    async def _rows(
        self, model: LoadedModel, item_ids: list[str], clock: Clock
    ) -> tuple[Rows, Reasons]:
        try:
            return await model.catalog.rows(item_ids, clock.remaining_s()), frozenset()
        except StoreError as error:
            return model.catalog.held_rows(item_ids), frozenset([_reason(error, clock)])


def _reason(error: StoreError, clock: Clock) -> Degraded:
    if isinstance(error, StoreOverloadedError):
        return Degraded.OVERLOADED
    late = isinstance(error, StoreTimeoutError) and clock.expired()
    return Degraded.DEADLINE if late else Degraded.STORE_UNAVAILABLE

"""Ranks one request from start to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from service.catalog.item_table import Pool
from service.catalog.lookup import MISSING, Rows
from service.contract import histories, titles, user_tradeoffs
from service.contract.experiments import Arm
from service.contract.histories import Engagement
from service.errors import (
    ClientLeftError,
    DeadlineError,
    RankError,
    StoreError,
    StoreOverloadedError,
)
from service.models.loaded_model import LoadedModel
from service.models.registry import Registry
from service.models.scorer import RUN_ROWS
from service.ranking.answer import rank_pool
from service.ranking.decisions import Decisions, repeatable
from service.ranking.full_scan import FullScanQueue
from service.ranking.items import Columns, ItemColumns, add_titles, as_rows
from service.ranking.messages import Degraded, RankRequest, RankResponse
from service.ranking.request import Caller, Clock, Ranking, Source
from service.store.records import RedisStore
from service.telemetry import Telemetry

Reasons = frozenset[Degraded]
# Offers a ranking to be repeated: request, request id, model, columns, reasons, ms of stage score.
Offer = Callable[[RankRequest, str, LoadedModel, Columns, Reasons, float], None]

_NO_REASONS: Reasons = frozenset()
# Sources of a tradeoff that the caller does not know of.
_UNSEEN: dict[Source, Literal["target", "user", "arm"]] = {
    "target": "target", "user": "user", "arm": "arm",
}  # fmt: skip


class Arms(Protocol):
    """The experiment that runs."""

    def arm(self, user_id: str) -> Arm | None:
        """Return the arm of a user, None outside of it."""

    def count_ranking(self, arm: Arm) -> None:
        """Count a ranking of an arm."""


class Ranker:
    """Ranks candidates, or the whole catalogue, for a user at the request's tradeoff.

    A stage whose result lacks something returns the reasons for it with the result.
    """

    def __init__(
        self,
        registry: Registry,
        store: RedisStore,
        telemetry: Telemetry,
        full_scans: FullScanQueue,
        offer: Offer | None = None,
        decisions: Decisions | None = None,
        arms: Arms | None = None,
    ) -> None:
        self._registry = registry
        self._store = store
        self._telemetry = telemetry
        self._full_scans = full_scans
        self._offer = offer
        self._decisions = decisions
        self._arms = arms
        self._degraded = {reason: telemetry.degraded.labels(reason) for reason in Degraded}

    async def rank(
        self, request: RankRequest, request_id: str, caller: Caller, *, counted: bool = True
    ) -> RankResponse:
        """Return the answer to ``request``; ``counted``: whether it is traffic.

        Traffic alone is explored and logged, and of it only what is profiled.

        Raises RankError where no model can serve it, and ClientLeftError if the ``caller`` leaves
        before the items are scored.
        """
        clock = Clock(request.deadline_ms, self._store.limit, caller.arrived_s)
        arm, user_id, reference = None, None, request.model
        if request.profiling:
            user_id = request.user_id
            if reference is None and self._arms is not None:
                arm = self._arms.arm(user_id)
                reference = None if arm is None else arm.model
        model = self._registry.route(reference, user_id)
        may_log = counted and request.profiling
        ranking = Ranking(model, request, clock, request_id, arm, may_log)
        try:
            columns, reasons = await self.order(ranking, caller)
            if counted:
                model.exposure.add(ranking.tradeoff, request.candidates is None, columns)
                if ranking.target is not None:
                    ranking.target.add(columns)
            if request.titles:
                reasons |= await self._add_titles(ranking, columns)
            for reason in reasons:
                self._degraded[reason].inc()
            items = ItemColumns(**columns) if request.format == "columns" else as_rows(columns)
        except (RankError, ClientLeftError):
            raise
        except Exception:
            if counted:
                model.health.fail()
            raise
        if counted:
            model.health.add(columns["scores"], reasons)
            if arm is not None and self._arms is not None:
                self._arms.count_ranking(arm)
            self._telemetry.tradeoff_sources[ranking.source] += 1
        clock.lap("select")
        timing_ms = clock.finish(self._telemetry)
        degraded, explored = sorted(reasons), None
        if self._decisions is not None and ranking.draw is not None:
            explored = self._decisions.add(ranking.draw, ranking, columns, degraded)
        if counted and self._registry.trials and self._offer is not None:
            request, columns = repeatable(ranking, columns)
            self._offer(request, request_id, model, columns, reasons, timing_ms["score"])
        return RankResponse(
            request_id=request_id,
            model=model.label,
            tradeoff=ranking.tradeoff,
            tradeoff_from=_UNSEEN.get(ranking.source),
            target_missed=ranking.target is not None and ranking.target.missed,
            arm=None if arm is None else arm.name,
            items=items,
            degraded=degraded,
            timing_ms=timing_ms,
            explored=explored,
        )

    async def order(self, ranking: Ranking, caller: Caller) -> tuple[Columns, Reasons]:
        """Return the items of a ranking as columns, and why it is degraded."""
        if ranking.request.candidates is None:
            return await self._rank_catalogue(ranking, caller)
        return await self._rank_candidates(ranking, ranking.request.candidates, caller)

    async def _add_titles(self, ranking: Ranking, columns: Columns) -> Reasons:
        """Add what people see of the items of an answer."""
        item_ids = columns["item_ids"]
        try:
            answer = asyncio.ensure_future(self._store.titles(ranking.model.keys, item_ids))
            limit = ranking.clock.limit()
            records = await asyncio.wait_for(answer, limit.timeout_s)
        except (StoreError, TimeoutError) as error:
            add_titles(columns, [None] * len(item_ids))
            late = limit.error() if isinstance(error, TimeoutError) else error
            return frozenset([_reason(late)])
        add_titles(columns, [titles.decode(record) for record in records])
        return _NO_REASONS

    async def _rank_candidates(
        self, ranking: Ranking, candidates: list[str], caller: Caller
    ) -> tuple[Columns, Reasons]:
        """Rank the distinct ``candidates`` less the excluded ones."""
        # Candidates before the user: their ids are still in the CPU cache.
        pool, pool_reasons = await self._pool(ranking, candidates)
        ranking.clock.lap("catalog")
        user, user_reasons = await self._user(ranking, caller)
        return rank_pool(ranking, user, pool), pool_reasons | user_reasons

    async def _rank_catalogue(self, ranking: Ranking, caller: Caller) -> tuple[Columns, Reasons]:
        """Rank all items in memory; a large catalogue is ranked off the event loop."""
        user, reasons = await self._user(ranking, caller)
        catalog, excluded = ranking.model.catalog, ranking.request.exclude
        if not catalog.whole:
            reasons |= {Degraded.PARTIAL_CATALOG}
        if catalog.lost:
            reasons |= {Degraded.LOST_ITEMS}
        if len(catalog) <= RUN_ROWS:
            with catalog.scan(excluded) as pool:
                ranking.clock.lap("catalog")
                return rank_pool(ranking, user, pool), reasons
        async with self._full_scans.turn():
            caller.ensure_connected()
            with catalog.scan(excluded) as pool:
                ranking.clock.lap("catalog")
                return await asyncio.to_thread(rank_pool, ranking, user, pool), reasons

    async def _user(self, ranking: Ranking, caller: Caller) -> tuple[NDArray[np.float32], Reasons]:
        """Return the user vector (1, U) once the ranking may go on, its tradeoff chosen.

        It is that of the record, moved by later engagements, else that of the history, else the
        average. Without profiling it is the average.
        """
        vector, reasons = ranking.model.average_user, _NO_REASONS
        if ranking.request.profiling:
            vector, reasons = await self._stored_user(ranking)
        await caller.turn()
        ranking.choose()
        if ranking.may_log and self._decisions is not None:
            self._decisions.draw(ranking)
        ranking.clock.lap("user")
        return vector, reasons

    async def _stored_user(self, ranking: Ranking) -> tuple[NDArray[np.float32], Reasons]:
        """Return the user vector (1, U) of what the store has of the user.

        A user without a record in the store is unknown.
        """
        model, user_id = ranking.model, ranking.request.user_id
        try:
            user = await self._store.user(model.keys, user_id, ranking.clock.limit())
        except StoreError as error:
            return await self._cold_user(ranking, [], frozenset([_reason(error)]))
        if user.tradeoff is not None:
            ranking.user_tradeoff = user_tradeoffs.decode(user.tradeoff)
            if ranking.user_tradeoff is None:
                self._telemetry.corrupt_records.labels("tradeoff").inc()
        engaged, reasons = self._engaged(user.history)
        if user.record is None:
            return await self._cold_user(ranking, engaged, reasons | {Degraded.UNKNOWN_USER})
        values = user.vector(model.record_dim)
        if values is None:
            self._telemetry.corrupt_records.labels("user").inc()
            return await self._cold_user(ranking, engaged, reasons | {Degraded.CORRUPT_RECORD})
        if engaged and model.manifest.moves_users:
            return await self._moved_user(ranking, values, engaged)
        return values[:, : model.user_dim], reasons

    def _engaged(self, history: bytes | None) -> tuple[list[Engagement], Reasons]:
        """Return the engagements of a stored history."""
        if history is None:
            return [], _NO_REASONS
        engaged = histories.decode(history)
        if engaged is None:
            self._telemetry.corrupt_records.labels("history").inc()
            return [], frozenset([Degraded.CORRUPT_RECORD])
        return engaged, _NO_REASONS

    async def _moved_user(
        self, ranking: Ranking, record: NDArray[np.float32], engaged: list[Engagement]
    ) -> tuple[NDArray[np.float32], Reasons]:
        """Return the user vector (1, U) of a record (1, V) after what was engaged with since.

        What the training saw is in the record already.
        """
        model, reasons = ranking.model, _NO_REASONS
        item_ids = [item_id for item_id, time_ms in engaged if time_ms > model.trained_until_ms]
        if item_ids:
            rows, reasons = await self._rows(ranking, item_ids)
            rows = rows[rows != MISSING]
            if len(rows):
                self._telemetry.moved_users.inc()
                vector = model.scorer.update_user(record, model.catalog.traces(rows))
                if np.isfinite(vector).all():
                    return vector, reasons
        return record[:, : model.user_dim], reasons

    async def _cold_user(
        self, ranking: Ranking, engaged: list[Engagement], reasons: Reasons
    ) -> tuple[NDArray[np.float32], Reasons]:
        """Return the user vector (1, U) of the history, or that of the average user.

        The history is the request's and the stored one. ``reasons`` are those of the missing
        record. A user with a usable history is not unknown.
        """
        model, item_ids = ranking.model, ranking.request.history
        if engaged:
            item_ids = list(dict.fromkeys([*item_ids, *(item_id for item_id, _ in engaged)]))
        rows, history_reasons = await self._rows(ranking, item_ids)
        rows = rows[rows != MISSING]
        reasons |= history_reasons
        if not len(rows):
            self._telemetry.cold_users.labels("average").inc()
            return model.average_user, reasons
        self._telemetry.cold_users.labels("history").inc()
        vector = model.scorer.encode_user(model.catalog.states(rows))
        return vector, reasons - {Degraded.UNKNOWN_USER}

    async def _pool(self, ranking: Ranking, item_ids: list[str]) -> tuple[Pool, Reasons]:
        """Return the distinct items less the excluded ones, with their states."""
        catalog = ranking.model.catalog
        if ranking.request.exclude:
            excluded = set(ranking.request.exclude)
            item_ids = [item_id for item_id in item_ids if item_id not in excluded]
        rows, reasons = await self._rows(ranking, item_ids)
        pool = catalog.gather(item_ids, rows)
        if pool.missing:
            self._telemetry.missing_items.inc(len(pool.missing))
        return pool, reasons

    async def _rows(self, ranking: Ranking, item_ids: list[str]) -> tuple[Rows, Reasons]:
        """Return the catalogue's row of each id (N,), from memory alone if the store fails."""
        catalog, reasons = ranking.model.catalog, _NO_REASONS
        try:
            rows = await catalog.rows(item_ids, ranking.clock.limit())
        except StoreError as error:
            rows, reasons = catalog.held_rows(item_ids), frozenset([_reason(error)])
        if catalog.lost and not catalog.lost.isdisjoint(item_ids):
            reasons |= {Degraded.LOST_ITEMS}
        return rows, reasons


def _reason(error: StoreError) -> Degraded:
    match error:
        case DeadlineError():
            return Degraded.DEADLINE
        case StoreOverloadedError():
            return Degraded.OVERLOADED
        case _:
            return Degraded.STORE_UNAVAILABLE

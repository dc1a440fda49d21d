"""One request from start to end."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.catalog import MISSING, Rows
from service.contract.records import decode
from service.errors import InvalidRequestError, StoreError, StoreTimeoutError
from service.registry import LoadedModel, Registry
from service.schemas import Degraded, RankRequest
from service.store import RedisStore
from service.telemetry import Telemetry

# Above this many candidates a run would hold up other requests: it leaves the event loop.
_INLINE_CANDIDATES = 20_000

Array = NDArray[np.float32]


class Ranker:
    """Ranks candidates for a user at the request's tradeoff."""

    def __init__(self, registry: Registry, store: RedisStore, telemetry: Telemetry) -> None:
        self._registry = registry
        self._store = store
        self._telemetry = telemetry

    async def rank(self, request: RankRequest, request_id: str) -> dict[str, Any]:
        """Return the response that ``schemas.RankResponse`` documents."""
        clock = _Clock(request.deadline_ms, self._store.timeout_s)
        model = self._registry.resolve(request.model)
        manifest = model.manifest
        tradeoff = manifest.default_tradeoff if request.tradeoff is None else request.tradeoff
        context = _context(model, request.context)
        degraded: set[Degraded] = set()

        user = await self._user(model, request, clock, degraded)
        clock.lap("user")
        item_ids, rows = await self._candidates(model, request, clock, degraded)
        found = np.flatnonzero(rows != MISSING)
        state = model.catalog.states(rows[found])
        cold = model.catalog.cold(rows[found])
        clock.lap("catalog")
        tradeoffs = (tradeoff, 0.0, 1.0) if request.explain else (tradeoff,)
        logits = await _score(model, user, state, tradeoffs, context)
        clock.lap("score")

        found_ids = item_ids if len(found) == len(item_ids) else [item_ids[i] for i in found]
        best = top_k(logits[0], found_ids, request.top_k)
        scores = _calibrated(model, logits[:, best])
        items = [
            {"item_id": found_ids[row], "rank": rank, "score": score, "status": status}
            for rank, (row, score, status) in enumerate(
                zip(
                    best,
                    scores[0].tolist(),
                    np.where(cold[best], "cold", "ok").tolist(),
                    strict=True,
                ),
                1,
            )
        ]
        if request.explain:
            _explain(items, best, scores, logits, found_ids)
        if missing := len(item_ids) - len(found):
            self._telemetry.missing_items.inc(missing)
            absent = sorted(item_ids[i] for i in np.flatnonzero(rows == MISSING))
            items += [
                {"item_id": item_id, "rank": rank, "score": None, "status": "missing"}
                for rank, item_id in enumerate(absent[: request.top_k - len(best)], len(best) + 1)
            ]
        for reason in degraded:
            self._telemetry.degraded.labels(reason).inc()
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
        self, model: LoadedModel, request: RankRequest, clock: _Clock, degraded: set[Degraded]
    ) -> Array:
        """Return the user vector (1, U): the record's, else from the history, else the average."""
        record = None
        try:
            record = await self._store.user(model.keys, request.user_id, clock.remaining_s())
        except StoreError as error:
            degraded.add(_reason(error, clock))
        decoded = decode([record], model.manifest.user_dim)
        if decoded.corrupt[0]:
            degraded.add(Degraded.CORRUPT_RECORD)
            self._telemetry.corrupt_records.labels("user").inc()
        elif decoded.present[0]:
            return decoded.values
        history = await self._rows(model, request.history, clock, degraded)
        history = history[history != MISSING]
        self._telemetry.cold_users.labels("history" if len(history) else "average").inc()
        if not len(history):
            if not degraded:  # the store said so, rather than nothing
                degraded.add(Degraded.UNKNOWN_USER)
            return model.average_user
        return model.scorer.encode_user(model.catalog.states(history))

    async def _candidates(
        self, model: LoadedModel, request: RankRequest, clock: _Clock, degraded: set[Degraded]
    ) -> tuple[list[str], Rows]:
        """Return distinct candidate ids less the excluded ones, and their rows (N,)."""
        excluded = set(request.exclude)
        if request.candidates is not None:
            item_ids = [i for i in dict.fromkeys(request.candidates) if i not in excluded]
            return item_ids, await self._rows(model, item_ids, clock, degraded)
        item_ids, rows = model.catalog.everything()
        if excluded:
            kept = np.fromiter((i not in excluded for i in item_ids), np.bool_, len(item_ids))
            item_ids, rows = [item_ids[i] for i in np.flatnonzero(kept)], rows[kept]
        return item_ids, rows

    async def _rows(
        self, model: LoadedModel, item_ids: list[str], clock: _Clock, degraded: set[Degraded]
    ) -> Rows:
        try:
            return await model.catalog.rows(item_ids, clock.remaining_s())
        except StoreError as error:
            degraded.add(_reason(error, clock))
            return model.catalog.held_rows(item_ids)


class _Clock:
    """Laps of one request in milliseconds, and how long it may still wait for the store."""

    def __init__(self, deadline_ms: float | None, store_timeout_s: float) -> None:
        self._start = self._last = time.perf_counter()
        self._deadline_s = math.inf if deadline_ms is None else deadline_ms / 1000
        self._store_timeout_s = store_timeout_s
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self._laps[stage] = (now - self._last) * 1000
        self._last = now

    def expired(self) -> bool:
        return time.perf_counter() - self._start >= self._deadline_s

    def remaining_s(self) -> float:
        left_s = self._deadline_s - (time.perf_counter() - self._start)
        return min(max(0.0, left_s), self._store_timeout_s)

    def finish(self, telemetry: Telemetry) -> dict[str, float]:
        for stage, lap_ms in self._laps.items():
            telemetry.stages.labels(stage).observe(lap_ms / 1000)
        return {**self._laps, "total": (self._last - self._start) * 1000}


def top_k(logits: Array, item_ids: list[str], k: int) -> list[int]:
    """Return the rows of the k highest of ``logits`` (N,), best first, ties by item id."""
    rows = np.arange(len(logits))
    if k < len(logits):
        # Everything at the k-th logit stays in until ids have broken the tie.
        rows = np.flatnonzero(logits >= np.partition(logits, -k)[-k])
    rows = rows[np.argsort(-logits[rows], kind="stable")]
    ordered = logits[rows]
    if (ordered[1:] == ordered[:-1]).any():
        return sorted(rows.tolist(), key=lambda row: (-logits[row], item_ids[row]))[:k]
    best: list[int] = rows[:k].tolist()
    return best


async def _score(
    model: LoadedModel,
    user: Array,
    state: Array,
    tradeoffs: tuple[float, ...],
    context: Array | None,
) -> Array:
    """Return logits (T, N) at ``tradeoffs``."""

    def run() -> Array:
        return np.stack([model.scorer.score(user, state, w, context) for w in tradeoffs])

    if not len(state):
        return np.zeros((len(tradeoffs), 0), np.float32)
    return await asyncio.to_thread(run) if len(state) > _INLINE_CANDIDATES else run()


def _calibrated(model: LoadedModel, logits: Array) -> NDArray[np.float64]:
    calibration = model.manifest.calibration
    scaled = calibration.slope * logits.astype(np.float64) + calibration.intercept
    return np.asarray(1.0 / (1.0 + np.exp(-scaled)))


def _explain(
    items: list[dict[str, Any]],
    best: list[int],
    scores: NDArray[np.float64],
    logits: Array,
    item_ids: list[str],
) -> None:
    """Add to each item its score and rank at both ends; rows of ``logits`` are (w, 0, 1)."""
    for end, name in ((1, "debiased"), (2, "logged")):
        place = np.empty(len(item_ids), np.int64)
        place[top_k(logits[end], item_ids, len(item_ids))] = np.arange(1, len(item_ids) + 1)
        for item, score, rank in zip(
            items, scores[end].tolist(), place[best].tolist(), strict=True
        ):
            item.setdefault("explain", {})[name] = {"score": score, "rank": rank}


def _context(model: LoadedModel, values: dict[str, float]) -> Array | None:
    """Return the context vector (1, C), neutral where the request is silent."""
    fields = model.manifest.context
    names = [field.name for field in fields]
    for name in values:
        if name not in names:
            known = ", ".join(names) or "no context fields"
            message = f"context.{name}: {model.label} does not know it; it has {known}"
            raise InvalidRequestError(message, field=f"context.{name}")
    if not fields:
        return None
    return np.array([[values.get(field.name, field.neutral) for field in fields]], np.float32)


def _reason(error: StoreError, clock: _Clock) -> Degraded:
    late = isinstance(error, StoreTimeoutError) and clock.expired()
    return Degraded.DEADLINE if late else Degraded.STORE_UNAVAILABLE

"""Shadow rankings: a candidate repeats a share of the champion's, and both are compared."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from service.contract.artifact import BiasReference
from service.contract.assignment import unit_hash
from service.contract.measures import rank_biased_overlap, stability_index
from service.models.loaded_model import LoadedModel
from service.models.registry import Registry
from service.models.rollouts import Trial
from service.ranking.items import Columns
from service.ranking.messages import Degraded, RankRequest
from service.ranking.ranker import Ranker, Reasons
from service.ranking.request import Clock, Ranking
from service.store.limit import Limit
from service.telemetry import Telemetry

_SALT = "shadow"
_TOP, _WINDOW = BiasReference.TOP, BiasReference.WINDOW
_FEWEST_SCORES = 100  # smaller windows report no drift
_PAUSE_S = 0.001  # before each shadow ranking: its answer has left, and others go first
_LATE_S = 0.005  # an event loop that wakes later has no time to spare
_STORE_FAULTS = {Degraded.STORE_UNAVAILABLE, Degraded.DEADLINE, Degraded.OVERLOADED}

log = logging.getLogger(__name__)


@dataclass
class Figures:
    """What shadow rankings of one candidate have shown, ``against`` one champion.

    The windows hold the scores of the last 1,000 places of either side. Sums are over the
    ``compared`` rankings; ``dropped`` were left out, ``failed`` raised an error.
    """

    against: str
    compared: int = 0
    dropped: int = 0
    failed: int = 0
    agreement_sum: float = 0.0
    served_ms_sum: float = 0.0
    shadow_ms_sum: float = 0.0
    served_scores: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    shadow_scores: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))

    def score_drift(self) -> float | None:
        """Return the population stability index of the candidate's scores against those served."""
        if min(len(self.served_scores), len(self.shadow_scores)) < _FEWEST_SCORES:
            return None
        deciles = np.quantile(self.served_scores, np.linspace(0.1, 0.9, 9))
        return stability_index(np.array(self.shadow_scores), deciles)


@dataclass(frozen=True)
class _Entry:
    """A ranking that was served: its request, and the first places of its answer."""

    name: str
    served: str
    request: RankRequest
    item_ids: list[str]
    scores: list[float]
    score_ms: float


class _NoCaller:
    """No client waits for a shadow ranking, and it takes no turn: the queue is its bound."""

    arrived_s = 0.0

    async def turn(self) -> None:
        """Begin at once."""

    def ensure_connected(self) -> None:
        """Let the ranking go on."""


_NO_CALLER = _NoCaller()


class Shadow:
    """Ranks a share of the champion's requests by the candidate as well, after their answers.

    Entries wait in a queue of at most ``limit``; what does not fit is dropped, and so is an entry
    while the event loop runs late. ``ranker`` counts in metrics of its own, which nobody reads.
    """

    def __init__(
        self,
        registry: Registry,
        ranker: Ranker,
        store_limit: Limit,
        telemetry: Telemetry,
        limit: int,
    ) -> None:
        self._registry = registry
        self._ranker = ranker
        self._store_limit = store_limit
        self._telemetry = telemetry
        self._queue: asyncio.Queue[_Entry] = asyncio.Queue(limit)
        self._figures: dict[str, Figures] = {}  # by the candidate's label

    def offer(
        self,
        request: RankRequest,
        request_id: str,
        model: LoadedModel,
        columns: Columns,
        reasons: Reasons,
        score_ms: float,
    ) -> None:
        """Take a ranking by ``model`` if it is the champion's and in the candidate's share.

        The request's id decides.
        """
        trial = self._registry.trials.get(model.manifest.name)
        if trial is None or trial.against != model.label:
            return
        if unit_hash(_SALT, request_id) >= trial.shadow:
            return
        if not reasons.isdisjoint(_STORE_FAULTS):
            self._drop(trial, "store")
            return
        ids, scores = _shown(columns)
        repeated = msgspec.structs.replace(request, explain=False, top_k=min(request.top_k, _TOP))
        try:
            self._queue.put_nowait(
                _Entry(model.manifest.name, model.label, repeated, ids, scores, score_ms)
            )
        except asyncio.QueueFull:
            self._drop(trial, "full")

    async def run(self) -> None:
        """Repeat rankings without end. No error of a candidate leaves here."""
        while True:
            entry = await self._queue.get()
            due = time.perf_counter() + _PAUSE_S
            await asyncio.sleep(_PAUSE_S)
            trial = self._trial(entry)
            if trial is None:
                self._telemetry.shadow_dropped["moved"].inc()
            elif time.perf_counter() - due > _LATE_S:
                self._drop(trial, "busy")
            else:
                await self._repeat(entry, trial)

    def figures(self, model: LoadedModel) -> tuple[Trial, Figures] | None:
        """Return what shadow rankings of a candidate have shown; None for any other model."""
        trial = self._registry.trials.get(model.manifest.name)
        if trial is None or trial.model is not model or not trial.shadow:
            return None
        return trial, self._of(trial)

    def report(self) -> None:
        """Bring the metrics of score drift up to date, and forget candidates that are gone."""
        trials = {trial.model.label: trial for trial in self._registry.trials.values()}
        self._figures = {k: v for k, v in self._figures.items() if k in trials}
        for label, figures in self._figures.items():
            if (drift := figures.score_drift()) is not None:
                self._telemetry.shadow_drift.labels(label).set(drift)

    async def _repeat(self, entry: _Entry, trial: Trial) -> None:
        clock = Clock(None, self._store_limit)
        try:
            ranking = Ranking(trial.model, entry.request, clock)
            columns, reasons = await self._ranker.order(ranking, _NO_CALLER)
        except Exception:
            if not self._of(trial).failed:
                log.exception("%s: a shadow ranking failed", trial.model.label)
            self._of(trial).failed += 1
            self._telemetry.shadow_failed.labels(trial.model.label).inc()
            return
        now = self._trial(entry)
        if now is None or now.model is not trial.model:  # its metrics are gone
            self._telemetry.shadow_dropped["moved"].inc()
        elif reasons.isdisjoint(_STORE_FAULTS):
            self._compare(entry, trial, *_shown(columns), clock.lap_ms("score"))
        else:
            self._drop(trial, "store")

    def _compare(
        self, entry: _Entry, trial: Trial, ids: list[str], scores: list[float], score_ms: float
    ) -> None:
        figures, label = self._of(trial), trial.model.label
        agreement = rank_biased_overlap(entry.item_ids, ids)
        figures.compared += 1
        figures.agreement_sum += agreement
        figures.served_ms_sum += entry.score_ms
        figures.shadow_ms_sum += score_ms
        figures.served_scores.extend(entry.scores)
        figures.shadow_scores.extend(scores)
        self._telemetry.shadow_agreement.labels(label).observe(agreement)
        seconds = self._telemetry.shadow_seconds
        seconds.labels(label, "served").observe(entry.score_ms / 1000)
        seconds.labels(label, "shadow").observe(score_ms / 1000)

    def _trial(self, entry: _Entry) -> Trial | None:
        """Return the trial that an entry is for, unless the candidate or the champion moved."""
        trial = self._registry.trials.get(entry.name)
        return trial if trial is not None and trial.against == entry.served else None

    def _drop(self, trial: Trial, cause: str) -> None:
        self._telemetry.shadow_dropped[cause].inc()
        self._of(trial).dropped += 1

    def _of(self, trial: Trial) -> Figures:
        """Return the figures of a trial, new ones if its champion has moved."""
        figures = self._figures.get(trial.model.label)
        if figures is None or figures.against != trial.against:
            figures = self._figures[trial.model.label] = Figures(trial.against)
        return figures


def _shown(columns: Columns) -> tuple[list[str], list[float]]:
    """Return ids and scores of the first places, without missing items, which are last."""
    scores: Iterable[float | None] = columns["scores"][:_TOP]
    present = [score for score in scores if score is not None]
    return columns["item_ids"][: len(present)], present

"""The exposure monitor: exposure bias by model, tradeoff and pool, with the front's measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.artifact import Artifact, BiasReference
from service.contract.front import Front
from service.contract.front_metrics import monitored
from service.contract.measures import gini, in_tail, stability_index
from service.telemetry import Telemetry

TENTHS = tuple(f"{tenth / 10:.1f}" for tenth in range(11))
WHOLE = "catalogue"
POOLS = ("candidates", WHOLE)
_TOP, _WINDOW = BiasReference.TOP, BiasReference.WINDOW
_BATCH = 256  # rankings counted at once; counting them singly would cost as much as ranking
_FEWEST_SCORES = 100  # smaller windows report no drift
_WINDOWED = "exposure_gini"  # depends on the number of places; the reference has it for a window

Floats = NDArray[np.floating]
Hashes = NDArray[np.int64]
_Ranking = tuple[int, list[str], list[float], int]  # pool monitor, item ids, scores, cold items


class ExposureMonitor:
    """Counts the items that one model's rankings show, in their first 10 places.

    ``add`` queues a ranking, ``report`` updates the metrics. An item that was not in training has
    no clicks, so its popularity percentile is 0.
    """

    def __init__(self, artifact: Artifact, telemetry: Telemetry) -> None:
        reference = artifact.bias_reference()  # a local name: it holds the ids of all items
        self._queue: list[_Ranking] = []
        self._popularity = _Popularity(reference) if reference else None
        self._pools = [
            _PoolMonitor(
                telemetry,
                (artifact.label, tradeoff, pool),
                has_popularity=reference is not None,
                deciles=_deciles(reference, tradeoff) if reference and pool == WHOLE else None,
            )
            for tradeoff in TENTHS
            for pool in POOLS
        ]
        _report_front(artifact.label, artifact.manifest.front, reference, telemetry)

    def add(self, tradeoff: float, whole: bool, columns: Mapping[str, Any]) -> None:
        """Queue a ranking of the whole catalogue or of candidates, laid out as ``ItemColumns``."""
        status = columns["status"][:_TOP]
        shown = len(status) - status.count("missing")  # missing items are last
        pool = len(POOLS) * round(10 * tradeoff) + whole
        ids, scores = columns["item_ids"][:shown], columns["scores"][:shown]
        self._queue.append((pool, ids, scores, status.count("cold")))
        if len(self._queue) >= _BATCH:
            self._count_queue()

    def percentiles(self, item_ids: Sequence[str]) -> Floats | None:
        """Return the popularity percentile (K,) of each item, None without a bias reference."""
        if self._popularity is None:
            return None
        return self._popularity.percentile(np.fromiter(map(hash, item_ids), np.int64))

    def report(self, items: int) -> None:
        """Bring all metrics up to date; ``items`` is the size of the catalogue."""
        self._count_queue()
        for pool in self._pools:
            pool.report(items)

    def worst_drift(self) -> float | None:
        """Return the greatest score drift of any full window; None while there is none."""
        self._count_queue()
        drifts = [pool.drift() for pool in self._pools if pool.is_full]
        return max((drift for drift in drifts if drift is not None), default=None)

    def _count_queue(self) -> None:
        """Count all queued rankings in one pass of array operations."""
        if not self._queue:
            return
        pools, ids, scores, cold = zip(*self._queue, strict=True)
        self._queue.clear()
        lengths = [len(shown) for shown in ids]
        hashes = np.fromiter(map(hash, chain.from_iterable(ids)), np.int64, sum(lengths))
        score = np.fromiter(chain.from_iterable(scores), np.float64, len(hashes))
        order = np.argsort(np.repeat(pools, lengths), kind="stable")  # places grouped by pool
        hashes, score = hashes[order], score[order]
        percentile = self._popularity.percentile(hashes) if self._popularity else None
        rankings, places, colds = (
            np.bincount(pools, weight, len(self._pools)).astype(np.int64)
            for weight in (None, lengths, cold)
        )
        ends = places.cumsum()
        for number in np.flatnonzero(rankings).tolist():
            span = slice(ends[number] - places[number], ends[number])
            pool = self._pools[number]
            pool.count(int(rankings[number]), int(places[number]), int(colds[number]))
            pool.extend_window(hashes[span], score[span])
            if percentile is not None:
                pool.count_popularity(percentile[span])


class _Popularity:
    """Popularity percentiles by the hash of an item id: 12 bytes an item."""

    def __init__(self, reference: BiasReference) -> None:
        hashes = np.fromiter(map(hash, reference.item_ids), np.int64, len(reference.item_ids))
        order = np.argsort(hashes)
        # One more entry, for searches that end after all hashes.
        self._hashes = np.append(hashes[order], 0)
        self._percentile = np.append(reference.click_percentile[order], np.float32(0))

    def percentile(self, hashes: Hashes) -> Floats:
        """Return the percentile (N,) of each hash (N,), 0 for an unknown one."""
        place = np.searchsorted(self._hashes[:-1], hashes)
        return np.where(self._hashes[place] == hashes, self._percentile[place], 0.0)


class _PoolMonitor:
    """Metrics of the rankings of one pool at one tradeoff, to the nearest tenth."""

    def __init__(
        self,
        telemetry: Telemetry,
        labels: tuple[str, str, str],
        *,
        has_popularity: bool,
        deciles: Floats | None,
    ) -> None:
        self._deciles = deciles
        self._rankings = telemetry.exposure_rankings.labels(*labels)
        self._places = telemetry.exposure_places.labels(*labels)
        self._cold = telemetry.exposure_cold.labels(*labels)
        self._window = telemetry.exposure_window.labels(*labels)
        if has_popularity:
            self._tail = telemetry.exposure_tail.labels(*labels)
            self._percentiles = telemetry.exposure_popularity.labels(*labels)
        self._telemetry, self._labels = telemetry, labels
        self._hashes = np.zeros(0, np.int64)
        self._scores = np.zeros(0)
        self._changed = False

    def count(self, rankings: int, places: int, cold: int) -> None:
        """Count rankings, their places, and the places of cold items."""
        self._rankings.inc(rankings)
        self._places.inc(places)
        self._cold.inc(cold)

    def count_popularity(self, percentile: Floats) -> None:
        """Count the popularity percentiles (K,) of the items in K places."""
        self._tail.inc(int(in_tail(percentile).sum()))
        self._percentiles.inc(float(percentile.sum()))

    def extend_window(self, hashes: Hashes, scores: Floats) -> None:
        """Append the item hashes and scores of K places to the window of the last 1,000."""
        self._hashes = np.concatenate([self._hashes, hashes])[-_WINDOW:]
        self._scores = np.concatenate([self._scores, scores])[-_WINDOW:]
        self._changed = True

    def report(self, items: int) -> None:
        """Update the metrics of the window: its size, Gini coefficient and score drift."""
        if not self._changed:
            return
        self._changed = False
        self._window.set(len(self._hashes))
        if len(self._hashes):
            places = np.unique(self._hashes, return_counts=True)[1]
            self._telemetry.exposure_gini.labels(*self._labels).set(gini(places, items))
        if (drift := self.drift()) is not None:
            self._telemetry.exposure_drift.labels(*self._labels).set(drift)

    @property
    def is_full(self) -> bool:
        """Whether the window has all its places."""
        return len(self._scores) == _WINDOW

    def drift(self) -> float | None:
        """Return the score drift of the window; None without a reference or with few scores."""
        if self._deciles is None or len(self._scores) < _FEWEST_SCORES:
            return None
        return stability_index(self._scores, self._deciles)


def _report_front(
    model: str, front: Front, reference: BiasReference | None, telemetry: Telemetry
) -> None:
    """Set the measured front at the tenths of the tradeoff that rankings are counted at.

    A measure without a value is not set.
    """
    tradeoffs = np.array([point.tradeoff for point in front.points])
    curves = {
        measure: (
            tradeoffs,
            np.array([_mean(getattr(point, group), metric.name) for point in front.points]),
        )
        for measure, group, metric in monitored()
        if metric.name != _WINDOWED
    }
    if reference:
        curves[_WINDOWED] = (reference.tradeoffs, reference.exposure_gini)
    for measure, (at, values) in curves.items():
        for tenth in TENTHS:
            value = float(np.interp(float(tenth), at, values))
            if np.isfinite(value):
                telemetry.front.labels(model, tenth, measure).set(value)


def _mean(metrics: Mapping[str, Any], name: str) -> float:
    return float(metrics[name].mean) if name in metrics else float("nan")


def _deciles(reference: BiasReference, tradeoff: str) -> Floats:
    """Return the inner deciles (9,) of the scores shown at ``tradeoff``."""
    columns = reference.score_deciles.T
    return np.array([np.interp(float(tradeoff), reference.tradeoffs, each) for each in columns])

"""Exposure bias: what is shown at each tradeoff, as the model's own front was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.artifact import Artifact, BiasReference
from service.contract.manifest import Front
from service.contract.measures import gini, in_tail
from service.telemetry import Telemetry

TENTHS = tuple(f"{tenth / 10:.1f}" for tenth in range(11))
WHOLE = "catalogue"
POOLS = ("candidates", WHOLE)
_TOP, _WINDOW = BiasReference.TOP, BiasReference.WINDOW
_BATCH = 256  # rankings looked at together: one by one would cost as much as ranking
_FEWEST_SCORES = 100  # from which a drift is told

Floats = NDArray[np.floating]
Hashes = NDArray[np.int64]


class ExposureMonitor:
    """Counts what one model's rankings show; ``add`` notes, ``report`` tells the metrics.

    An item that was not in training has no clicks: its popularity percentile is 0.
    """

    def __init__(self, artifact: Artifact, telemetry: Telemetry) -> None:
        reference = artifact.bias_reference()  # not kept: it holds all ids
        self._noted: list[tuple[int, list[str], list[float], int]] = []
        self._popularity = _Popularity(reference) if reference else None
        self._views = [
            _View(
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
        """Note a ranking, laid out as ``schemas.ItemColumns``, of the whole catalogue or not."""
        status = columns["status"][:_TOP]
        shown = len(status) - status.count("missing")  # those stand last
        view = len(POOLS) * round(10 * tradeoff) + whole
        ids, scores = columns["item_ids"][:shown], columns["scores"][:shown]
        self._noted.append((view, ids, scores, status.count("cold")))
        if len(self._noted) >= _BATCH:
            self._take()

    def report(self, items: int) -> None:
        """Bring all metrics up to date; the catalogue holds ``items``."""
        self._take()
        for view in self._views:
            view.report(items)

    def _take(self) -> None:
        """Look at what was noted, all at once."""
        if not self._noted:
            return
        views, ids, scores, cold = zip(*self._noted, strict=True)
        self._noted.clear()
        lengths = [len(shown) for shown in ids]
        hashes = np.fromiter(map(hash, chain.from_iterable(ids)), np.int64, sum(lengths))
        score = np.fromiter(chain.from_iterable(scores), np.float64, len(hashes))
        order = np.argsort(np.repeat(views, lengths), kind="stable")
        hashes, score = hashes[order], score[order]
        percentile = self._popularity.percentile(hashes) if self._popularity else None
        rankings, places, colds = (
            np.bincount(views, weight, len(self._views)).astype(np.int64)
            for weight in (None, lengths, cold)
        )
        ends = places.cumsum()
        for number in np.flatnonzero(rankings).tolist():
            own = slice(ends[number] - places[number], ends[number])
            view = self._views[number]
            view.count(int(rankings[number]), int(places[number]), int(colds[number]))
            view.keep(hashes[own], score[own])
            if percentile is not None:
                view.count_popularity(percentile[own])


class _Popularity:
    """Percentiles by the hash of an id: 12 bytes an item."""

    def __init__(self, reference: BiasReference) -> None:
        hashes = np.fromiter(map(hash, reference.item_ids), np.int64, len(reference.item_ids))
        order = np.argsort(hashes)
        self._hashes = np.append(hashes[order], 0)  # never empty, and a search may end behind all
        self._percentile = np.append(reference.click_percentile[order], np.float32(0))

    def percentile(self, hashes: Hashes) -> Floats:
        """Return the percentile (N,) of ids by their hash, 0 for unknown ones."""
        place = np.searchsorted(self._hashes[:-1], hashes)
        return np.where(self._hashes[place] == hashes, self._percentile[place], 0.0)


class _View:
    """Rankings of one pool around one tradeoff."""

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
        """Count rankings, the places of their items, and those of cold ones."""
        self._rankings.inc(rankings)
        self._places.inc(places)
        self._cold.inc(cold)

    def count_popularity(self, percentile: Floats) -> None:
        """Count the popularity (K,) of what was shown."""
        self._tail.inc(int(in_tail(percentile).sum()))
        self._percentiles.inc(float(percentile.sum()))

    def keep(self, hashes: Hashes, scores: Floats) -> None:
        """Keep the last places (K,)."""
        self._hashes = np.concatenate([self._hashes, hashes])[-_WINDOW:]
        self._scores = np.concatenate([self._scores, scores])[-_WINDOW:]
        self._changed = True

    def report(self, items: int) -> None:
        """Tell what only all kept places together tell."""
        if not self._changed:
            return
        self._changed = False
        self._window.set(len(self._hashes))
        if len(self._hashes):
            amounts = np.unique(self._hashes, return_counts=True)[1]
            self._telemetry.exposure_gini.labels(*self._labels).set(gini(amounts, items))
        if self._deciles is not None and len(self._scores) >= _FEWEST_SCORES:
            drift = stability_index(self._scores, self._deciles)
            self._telemetry.exposure_drift.labels(*self._labels).set(drift)


def stability_index(values: Floats, deciles: Floats) -> float:
    """Return the population stability index of ``values`` (K,) against inner ``deciles`` (9,).

    sum_b (p_b - q_b) ln(p_b / q_b) over the ten bins, q_b = 1/10; half a value is added to each
    bin, so that none is empty. Below .1 is commonly read as no shift, above .25 as a large one.
    """
    counts = np.bincount(np.searchsorted(deciles, values, side="right"), minlength=10) + 0.5
    share = counts / counts.sum()
    return float(((share - 0.1) * np.log(share / 0.1)).sum())


def _report_front(
    model: str, front: Front, reference: BiasReference | None, telemetry: Telemetry
) -> None:
    """Show the measured front at the tradeoffs that traffic is counted at."""
    at = np.array([point.tradeoff for point in front.points])
    measured: dict[str, Sequence[float]] = {}
    for axis in ("logged", "unbiased"):
        measured[f"{axis}_auc"] = [_mean(getattr(point, axis), "auc") for point in front.points]
    for name in ("popularity_percentile", "tail_share"):
        measured[name] = [_mean(point.shown, name) for point in front.points]
    curves = {name: (at, np.array(values)) for name, values in measured.items()}
    if reference:
        curves["exposure_gini"] = (reference.tradeoffs, reference.exposure_gini)
    for name, (tradeoffs, values) in curves.items():
        for tenth in TENTHS:
            value = float(np.interp(float(tenth), tradeoffs, values))
            if np.isfinite(value):
                telemetry.front.labels(model, tenth, name).set(value)


def _mean(metrics: Mapping[str, Any], name: str) -> float:
    return float(metrics[name].mean) if name in metrics else float("nan")


def _deciles(reference: BiasReference, tradeoff: str) -> Floats:
    """Return the inner deciles (9,) of the scores shown at ``tradeoff``."""
    columns = reference.score_deciles.T
    return np.array([np.interp(float(tradeoff), reference.tradeoffs, each) for each in columns])

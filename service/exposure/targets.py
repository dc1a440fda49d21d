"""Targets of one model: the tradeoff of each, and what its rankings have shown since."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.artifact import BiasReference
from service.contract.front import Front
from service.contract.measures import in_tail
from service.contract.targets import SHOWN, Curve, Measure, curves
from service.errors import InvalidRequestError
from service.exposure.monitor import ExposureMonitor

_TOP = BiasReference.TOP
_MOST_TARGETS = 64  # that are kept; others are solved for each request and not held
_IDLE_S = 3600.0
_MOST_QUEUED = 20_000  # rankings, while the store does not answer
FEWEST = 25  # rankings of a correction
_HORIZON = 250.0  # rankings after which a small error is corrected to a third
_MOST_GAIN = 0.5  # share of an error that one correction takes away
_MOST_STEP = 0.1  # of the tradeoff
_SD: dict[Measure, float] = {"tail_share": 0.2, "popularity_percentile": 10.0}  # of one ranking

Floats = NDArray[np.floating]
# The measure of each place, by the percentile (K,) of the item there.
_OF_PLACES: dict[Measure, Callable[[Floats], Floats]] = {
    "tail_share": lambda percentile: in_tail(percentile).astype(np.float64),
    "popularity_percentile": lambda percentile: percentile,
}


class Target:
    """A value of a measure, and the ``tradeoff`` at which rankings have it.

    At first that is the front's; ``follow`` corrects it. ``epoch`` counts the corrections.
    """

    def __init__(
        self, measure: Measure, value: float, curve: Curve, monitor: ExposureMonitor | None
    ) -> None:
        """Begin at the front's tradeoff; without a ``monitor`` the target stays there."""
        self.measure = measure
        self.value = value
        self.curve = curve
        self.tradeoff = curve.tradeoff(value)
        self.epoch = 0
        least, most = curve.reach
        self._beyond_front = not least <= value <= most
        self._monitor = monitor
        self._shown: list[tuple[float, list[str]]] = []  # tradeoff and items of each ranking
        self._used_s = self._moved_s = time.monotonic()

    @property
    def missed(self) -> bool:
        """Whether no tradeoff reaches the value: the nearest end has been taken."""
        if not self.epoch:
            return self._beyond_front
        return self.tradeoff in (self.curve.tradeoffs[0], self.curve.tradeoffs[-1])

    @property
    def is_held(self) -> bool:
        """Whether it is corrected by what is shown."""
        return self._monitor is not None

    @property
    def correction(self) -> float:
        """What is added to the value before the front is asked for its tradeoff."""
        return self.curve.value(self.tradeoff) - self.value

    @property
    def label(self) -> str:
        """The value in short."""
        return f"{self.value:g}"

    def add(self, columns: Mapping[str, Any]) -> None:
        """Queue a ranking at this target, laid out as ``ItemColumns``."""
        if self._monitor is not None and len(self._shown) < _MOST_QUEUED:
            status = columns["status"][:_TOP]
            if shown := columns["item_ids"][: len(status) - status.count("missing")]:
                self._shown.append((self.tradeoff, shown))

    def take(self) -> tuple[int, float]:
        """Return the number of queued rankings, and by how much they show more than the front.

        That is the sum over the rankings of the measure's mean over the places, less the front's
        value at the tradeoff of the ranking.
        """
        queued, self._shown = self._shown, []
        if not queued or self._monitor is None:
            return 0, 0.0
        tradeoffs, shown = zip(*queued, strict=True)
        percentile = self._monitor.percentiles(list(chain.from_iterable(shown)))
        if percentile is None:
            return 0, 0.0
        lengths = np.array([len(ids) for ids in shown])
        starts = lengths.cumsum() - lengths
        sums = np.add.reduceat(_OF_PLACES[self.measure](percentile), starts)
        by_front = np.interp(tradeoffs, self.curve.tradeoffs, self.curve.values)
        return len(shown), float((sums / lengths - by_front).sum())

    def follow(self, epoch: int, tradeoff: float) -> None:
        """Take a correction that another replica, or this one, has made."""
        if epoch != self.epoch:
            self.epoch, self.tradeoff, self._moved_s = epoch, tradeoff, time.monotonic()

    def age_s(self) -> float:
        """Return the time since the last correction became known here, in seconds."""
        return time.monotonic() - self._moved_s

    def shown(self, rankings: int, excess: float) -> float:
        """Return what traffic shows at the tradeoff, given ``rankings`` > 0 as of ``take``."""
        return self.curve.value(self.tradeoff) + excess / rankings

    def corrected(self, rankings: int, excess: float) -> float:
        """Return the next tradeoff, given ``rankings`` > 0 as of ``take``.

        An integral controller on the front c: with the error e = value - shown,

            w' = c^-1(c(w) + g e), at most 0.1 from w

        with g = min(rankings / 250, 1/2), but 1/2 for an error beyond three standard errors, which
        is no noise. Where traffic shows c(w) plus a constant, (1 - g) e is left. Nothing overshoots
        as long as traffic answers to the tradeoff at most twice as steeply as the front.
        """
        error = self.value - self.shown(rankings, excess)
        gain = min(rankings / _HORIZON, _MOST_GAIN)
        if abs(error) > 3 * _SD[self.measure] / math.sqrt(rankings):
            gain = _MOST_GAIN
        wanted = self.curve.tradeoff(self.curve.value(self.tradeoff) + gain * error)
        return min(max(wanted, self.tradeoff - _MOST_STEP), self.tradeoff + _MOST_STEP)

    def use(self) -> None:
        """Note that a request has named it."""
        self._used_s = time.monotonic()

    def is_idle(self) -> bool:
        """Return whether no request has named it for an hour."""
        return time.monotonic() - self._used_s > _IDLE_S


class Targets:
    """The targets that requests name of one model, solved once each."""

    def __init__(
        self, label: str, front: Front, monitor: ExposureMonitor, *, holds: bool = True
    ) -> None:
        """Take the front of the model ``label``; ``holds``: what is shown corrects the targets."""
        self._label = label
        self.curves = curves(front)
        has_percentiles = monitor.percentiles([]) is not None
        self._monitor = monitor if holds and has_percentiles else None
        self._targets: dict[tuple[Measure, float], Target] = {}

    def find(self, measure: Measure, value: float) -> Target:
        """Return a target to three decimals; raises InvalidRequestError for a measure it lacks."""
        key = (measure, round(value, 3))
        if (target := self._targets.get(key)) is None:
            target = self._solved(*key)
            if len(self._targets) < _MOST_TARGETS:
                self._targets[key] = target
        target.use()
        return target

    def held(self) -> list[Target]:
        """Return the targets that what is shown corrects."""
        return [target for target in self._targets.values() if target.is_held]

    def forget_idle(self) -> list[Target]:
        """Forget and return the targets that no request has named for an hour."""
        idle = {key: target for key, target in self._targets.items() if target.is_idle()}
        for key in idle:
            del self._targets[key]
        return list(idle.values())

    def _solved(self, measure: Measure, value: float) -> Target:
        if (curve := self.curves.get(measure)) is None:
            known = ", ".join(self.curves) or "none: name a tradeoff"
            raise InvalidRequestError(
                f"target: {self._label} has no front of {measure}; it has {known}", field="target"
            )
        return Target(measure, value, curve, self._monitor if measure in SHOWN else None)

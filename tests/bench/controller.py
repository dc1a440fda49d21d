"""Simulates targets that the service holds while traffic drifts, and plots it.

``python -m tests.bench.controller [--out FILE]``: a front is measured on the whole catalogue of a
feed that is drawn here. Two replicas then rank at a target, with the service's own code and a Redis
of their own, while candidates, users and items change. Half a second of theirs takes a few
milliseconds here; each ranks 25 times in it.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from pydantic import SecretStr

from service.contract.front import Estimate, Front, FrontPoint
from service.contract.measures import in_tail
from service.contract.targets import Measure
from service.exposure.monitor import ExposureMonitor
from service.exposure.targets import Target, Targets
from service.models.registry import Registry
from service.models.target_control import TargetControl
from service.settings import Settings
from service.store.records import RedisStore
from service.store.target_states import TargetStates
from service.telemetry import Telemetry
from tests.bench.common import ROOT
from tests.fronts import make_front
from training.demo.local_redis import private_redis
from training.evaluation.report.style import INK, LINE, OURS, QUIET, Name, drawn, name_in_margin

_ITEMS, _DIM, _TOP, _POOL = 2000, 16, 10, 300
_GRID = np.linspace(0, 1, 11)
_EACH, _REPLICAS, _PAUSE_S = 25, 2, 0.02
_WINDOW = 250  # rankings of the plot's running mean
_CLOSE = {"tail_share": 0.02, "popularity_percentile": 2.0}  # 2 points
_TARGETS: dict[Measure, float] = {"tail_share": 0.3, "popularity_percentile": 75.0}

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


class Feed:
    """Items with a popularity percentile, and users whose tastes a ranker knows."""

    def __init__(self, seed: int, measured: int) -> None:
        """Draw a feed whose measures are means over ``measured`` rankings."""
        self.rankings = measured
        self.rng = np.random.default_rng(seed)
        self.percentile = self.rng.permutation(np.arange(_ITEMS) + 0.5) * 100 / _ITEMS
        self.items = self.rng.normal(size=(_ITEMS, _DIM)) / np.sqrt(_DIM)
        self.fame = 2.5 * (self.percentile / 100) ** 4  # what exposure adds to a click
        self.appeal = np.zeros(_ITEMS)  # for every user

    def front(self) -> Front:
        """Return the front of whole catalogues, at eleven tradeoffs."""
        shown = self.measured(_whole)
        points = tuple(
            FrontPoint(
                tradeoff=tradeoff,
                logged={},
                unbiased={},
                shown={name: Estimate(mean=float(means[t])) for name, means in shown.items()},
            )
            for t, tradeoff in enumerate(_GRID.tolist())
        )
        return make_front().model_copy(update={"points": points})

    def measured(self, pool: Pool) -> dict[Measure, Floats]:
        """Return the mean of each measure (11,) at the tradeoffs of the grid."""
        rows = np.stack([self.tops(pool, _GRID) for _ in range(self.rankings)])
        percentile = self.percentile[rows]
        return {
            "tail_share": in_tail(percentile).mean(axis=(0, 2)),
            "popularity_percentile": percentile.mean(axis=(0, 2)),
        }

    def tops(self, pool: Pool, tradeoffs: Floats) -> Integers:
        """Return the first items (T, K) of rankings for a new user at T tradeoffs."""
        rows = pool(self)
        taste = self.items[rows] @ self.rng.normal(size=_DIM) + self.appeal[rows]
        score = taste + tradeoffs[:, None] * self.fame[rows]
        first: Integers = rows[np.argpartition(-score, _TOP)[:, :_TOP]]
        return first

    def percentiles(self, item_ids: Sequence[str]) -> Floats:
        """Return the percentiles (K,) of items, as the exposure monitor does."""
        return self.percentile[np.array(list(map(int, item_ids)), np.intp)]


Pool = Callable[[Feed], Integers]


def _whole(_: Feed) -> Integers:
    return np.arange(_ITEMS)


def _retrieved(feed: Feed) -> Integers:
    """Return candidates of a retrieval that prefers what is popular."""
    key = feed.rng.random(_ITEMS) ** (1 / (0.05 + (feed.percentile / 100) ** 2))
    return np.argpartition(-key, _POOL)[:_POOL]


@dataclass(frozen=True)
class Phase:
    """A stretch of traffic: what has changed at its start, and the pools from then on."""

    name: str
    pool: Pool
    change: Callable[[Feed], None] = lambda _: None


def _new_items(feed: Feed) -> None:
    """Replace a tenth of the items by new ones, which nobody has clicked and many like."""
    new = feed.rng.permutation(_ITEMS)[: _ITEMS // 10]
    feed.percentile[new], feed.fame[new], feed.appeal[new] = 0.0, 0.0, 0.8


def _mainstream(feed: Feed) -> None:
    """Let users turn to what is popular."""
    feed.appeal += 0.7 * (feed.percentile / 100) ** 2


PHASES = (
    Phase("the whole catalogue, as measured", _whole),
    Phase("candidates: 300, mostly popular", _retrieved),
    Phase("a tenth of the items is new", _retrieved, _new_items),
    Phase("users turn to popular items", _retrieved, _mainstream),
)


@dataclass(frozen=True)
class Course:
    """One target over all phases of R rankings each: shown (P R,), tradeoffs (P R,).

    ``expected`` (P R,) is the measure that traffic has at the tradeoff on average, ``by_front``
    (P,) the one at the front's tradeoff.
    """

    measure: Measure
    value: float
    shown: Floats
    tradeoffs: Floats
    expected: Floats
    by_front: Floats

    def row(self, phase: int) -> str:
        """Return the cells of a phase: how soon it comes close, and how it stays there."""
        rankings = len(self.expected) // len(PHASES)
        part = self.expected[phase * rankings : (phase + 1) * rankings]
        close = np.abs(part - self.value) <= _CLOSE[self.measure]
        after = f"{int(close.argmax())} rankings" if close.any() else "never"
        later = part[rankings // 3 :]
        return (
            f"| {self.measure} {self.value:g} | {PHASES[phase].name} | {self.by_front[phase]:.3g} "
            f"| {after} | {later.mean():.3g} | {close[rankings // 3 :].mean():.0%} |"
        )


class _Replica:
    """A process that ranks at a target and shares what it showed."""

    def __init__(self, feed: Feed, front: Front, store: RedisStore, settings: Settings) -> None:
        self.targets = Targets("feed@1", front, cast(ExposureMonitor, feed))
        model = SimpleNamespace(label="feed@1", targets=self.targets)
        registry = cast(Registry, SimpleNamespace(models=lambda: [(model, [])]))
        states = TargetStates(store, settings)
        self.control = TargetControl(registry, states, Telemetry(), _PAUSE_S)

    def rank(self, feed: Feed, pool: Pool, target: Target) -> Integers:
        rows: Integers = feed.tops(pool, np.array([target.tradeoff]))[0]
        target.add({"item_ids": list(map(str, rows.tolist())), "status": ["ok"] * _TOP})
        return rows


async def simulate(url: str, feed: Feed, measure: Measure, rankings: int) -> Course:
    """Return the course of one target, over phases of so many rankings."""
    front, value = feed.front(), _TARGETS[measure]
    settings = Settings(redis_url=SecretStr(url), namespace=measure, store_timeout_ms=5000)
    store = RedisStore(settings, Telemetry())
    replicas = [_Replica(feed, front, store, settings) for _ in range(_REPLICAS)]
    uncorrected = replicas[0].targets.find(measure, value).tradeoff
    shown, tradeoffs, expected, by_front = [], [], [], []
    for phase in PHASES:
        phase.change(feed)
        at = feed.measured(phase.pool)[measure]
        by_front.append(float(np.interp(uncorrected, _GRID, at)))
        for _ in range(rankings // (_EACH * _REPLICAS)):
            for replica in replicas:
                target = replica.targets.find(measure, value)
                rows = np.stack([replica.rank(feed, phase.pool, target) for _ in range(_EACH)])
                percentile = feed.percentile[rows]
                means = in_tail(percentile) if measure == "tail_share" else percentile
                shown += means.mean(axis=1).tolist()
                tradeoffs += [target.tradeoff] * _EACH
                expected += [float(np.interp(target.tradeoff, _GRID, at))] * _EACH
                await replica.control.step()
                await asyncio.sleep(_PAUSE_S / _REPLICAS)
    await store.close()
    return Course(measure, value, *map(np.array, (shown, tradeoffs, expected, by_front)))


def plot(course: Course, file: Path) -> None:
    """Write a PNG: what is shown with and without correction, and the tradeoff."""
    rankings = len(course.shown) // len(PHASES)
    with drawn(11, 6.5) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        at = np.arange(len(course.shown))
        running = np.convolve(course.shown, np.ones(_WINDOW) / _WINDOW, "valid")
        without = np.repeat(course.by_front, rankings)
        above.axhspan(course.value - 0.02, course.value + 0.02, color=LINE, alpha=0.5, lw=0)
        above.plot(at, without, color=QUIET, linewidth=1.5)
        above.plot(at[_WINDOW - 1 :], running, color=OURS, linewidth=1, alpha=0.5)
        above.plot(at, course.expected, color=OURS, linewidth=2)
        above.set_ylim(0, None)
        _phases(above, rankings)
        names = [
            Name("front alone", at[-1], without[-1]),
            Name("held", at[-1], course.expected[-1], OURS),
            Name("target, 2 points", at[-1], course.value, INK),
        ]
        name_in_margin(above, names)
        above.set_title("Share of the first 10 places for the long tail")
        below.plot(at, course.tradeoffs, color=OURS, linewidth=2)
        below.set_title("Tradeoff of the target")
        below.set_ylim(0, 1)
        below.set_xlabel("rankings")
        _phases(below, rankings, named=False)
        title = (
            "A target of 30 % tail places while traffic drifts: expected share, and running mean"
        )
        figure.suptitle(f"{title} of {_WINDOW}", fontsize=12, x=0.01, ha="left")
        figure.savefig(file, format="png", dpi=120)


def _phases(axes: Axes, rankings: int, *, named: bool = True) -> None:
    for number, phase in enumerate(PHASES):
        axes.axvline(number * rankings, color=LINE, linewidth=1, zorder=0)
        if named:
            at = (number + 0.02) * rankings
            axes.text(at, 0.005, phase.name, fontsize=8, color=QUIET, va="bottom")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print how far traffic is from each target in each phase, and write the plot.

    The last two columns are of the later two thirds of a phase.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.bench.controller", description=__doc__)
    parser.add_argument("--rankings", type=int, default=3000, help="rankings of each phase")
    parser.add_argument("--measured", type=int, default=2000, help="rankings a measurement")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "controller.png")
    options: Any = parser.parse_args(arguments)
    lines = [
        "| target | traffic | front alone | within 2 points after | later mean | within 2 points |",
        "|" + " --- |" * 6,
    ]
    for measure in _TARGETS:
        feed = Feed(options.seed, options.measured)
        with private_redis() as url:
            course = asyncio.run(simulate(url, feed, measure, options.rankings))
        lines += [course.row(phase) for phase in range(len(PHASES))]
        if measure == "tail_share":
            plot(course, options.out)
    print("\n".join(lines))  # noqa: T201  # its output is the measurement


if __name__ == "__main__":
    main()

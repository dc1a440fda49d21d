"""Minutes of load with swaps and updates: do memory, descriptors or latency grow?"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.chaos.load import Answer, Load
from tests.chaos.requests import Case, Judge
from tests.chaos.stack import Needs, Stack, running
from tests.chaos.world import World

_ROUND_S = 3.0  # from one swap and update to the next
_WARM = 0.2  # the part of the time after which memory is fitted


@dataclass(frozen=True)
class Sample:
    """Memory and descriptors of each replica at a time in seconds."""

    at_s: float
    rss_mb: list[float]
    descriptors: list[int]


@dataclass(frozen=True)
class Soak:
    """What a soak showed.

    ``slope_mb_h`` is the growth of each replica's memory in MB an hour, by least squares after a
    fifth of the time. Latencies are of the first and the last quarter. ``unsound`` counts answers
    that are degraded or no ranking.
    """

    minutes: float
    requests: int
    swaps: int
    updates: int
    unsound: int
    lost: int
    wrong: int
    rss_mb: list[list[float]]  # of each replica: after a fifth of the time, at the end
    slope_mb_h: list[float]
    descriptors: list[list[int]]  # of each replica: after a fifth of the time, at the end
    p50_ms: list[float]
    p99_ms: list[float]

    def document(self) -> dict[str, Any]:
        """Return the soak as JSON."""
        return asdict(self)


def soak(
    world: World, cases: list[Case], judge: Judge, folder: Path, minutes: float, rate: float
) -> Soak:
    """Alternate two versions and write all records again, every few seconds, under load."""
    shutil.rmtree(folder, ignore_errors=True)
    with running(world, Needs(published=2), folder, 1.0) as stack:
        load = Load(stack.port, cases, rate)
        with load.running():
            samples = _swap_and_update(stack, 60 * minutes)
    return _measured(samples, load.answers, judge, minutes)


def _swap_and_update(stack: Stack, seconds: float) -> list[Sample]:
    start_s = time.monotonic()
    samples: list[Sample] = []
    while (now_s := time.monotonic() - start_s) < seconds:
        version = 2 - len(samples) % 2
        stack.promote(version)
        stack.publish(version, fresh=True)
        replicas = stack.replicas
        samples.append(
            Sample(
                now_s,
                [replica.rss_mb() for replica in replicas],
                [replica.descriptors() for replica in replicas],
            )
        )
        time.sleep(_ROUND_S)
    return samples


def _measured(
    samples: Sequence[Sample], answers: Sequence[Answer], judge: Judge, minutes: float
) -> Soak:
    warm = list(samples[int(_WARM * len(samples)) :])
    hours = np.array([sample.at_s for sample in warm]) / 3600
    rss_mb = np.array([sample.rss_mb for sample in warm])
    descriptors = [sample.descriptors for sample in warm]
    ordered = sorted(answers, key=lambda answer: answer.asked_s)
    quarter = len(ordered) // 4
    ends = [[a.latency_ms for a in part] for part in (ordered[:quarter], ordered[-quarter:])]
    ranked = [answer for answer in ordered if answer.status == 200]
    return Soak(
        minutes=minutes,
        requests=len(ordered),
        swaps=len(samples),
        updates=len(samples),
        unsound=sum(not answer.sound for answer in ordered),
        lost=sum(answer.status is None for answer in ordered),
        wrong=sum(not judge.is_right(answer.case, answer.body) for answer in ranked),
        rss_mb=[[round(float(column[0]), 1), round(float(column[-1]), 1)] for column in rss_mb.T],
        slope_mb_h=[round(float(np.polyfit(hours, column, 1)[0]), 1) for column in rss_mb.T],
        descriptors=list(map(list, zip(descriptors[0], descriptors[-1], strict=True))),
        p50_ms=[round(float(np.percentile(part, 50)), 2) for part in ends],
        p99_ms=[round(float(np.percentile(part, 99)), 2) for part in ends],
    )

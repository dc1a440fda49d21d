"""Runs one scenario from start to end."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis

from tests.chaos.load import PATIENCE_S, Load
from tests.chaos.outcome import Observed, Outcome, last_unsound_s, outcome, reasons_of
from tests.chaos.requests import Case, Judge
from tests.chaos.scenario import Scenario
from tests.chaos.stack import running
from tests.chaos.world import World

_LOOK_S = 0.1
_SLOW_MS = 100.0


@dataclass(frozen=True)
class Pace:
    """Seconds before the fault and of calm after it; ``scale`` shortens the fault itself.

    ``rate`` is in requests a second, by default a small part of what two replicas can do.
    """

    before_s: float
    calm_s: float
    scale: float
    rate: float = 100.0


WHOLE = Pace(before_s=3.0, calm_s=3.0, scale=1.0)
QUICK = Pace(before_s=1.0, calm_s=1.0, scale=0.4)


def run(
    scenario: Scenario, world: World, cases: list[Case], judge: Judge, folder: Path, pace: Pace
) -> Outcome:
    """Return what clients saw; the folder keeps the logs."""
    shutil.rmtree(folder, ignore_errors=True)
    with running(world, scenario.needs, folder, pace.scale) as stack:
        load = Load(stack.port, cases, pace.rate)
        with load.running():
            time.sleep(pace.before_s)
            began_s = time.monotonic()
            try:
                scenario.inject(stack)
            except (AssertionError, OSError, httpx.HTTPError, redis.RedisError) as error:
                stack.check(f"the scenario runs to its end: {error!r:.200}", holds=False)
            ended_s = time.monotonic()
            _await_calm(load, ended_s, pace.calm_s, scenario.allowed.recovery_s)
        tracebacks = sum(replica.tracebacks() for replica in stack.replicas)
        observed = Observed(load.answers, began_s, ended_s, stack.checks, tracebacks)
    _write_notable(folder / "notable.log", observed)
    return outcome(scenario, observed, judge)


def _write_notable(path: Path, observed: Observed) -> None:
    """Write a line for each answer that is slow or not sound, by seconds from the fault's start."""
    lines = [f"fault from 0 to {observed.ended_s - observed.began_s:.3f} s"]
    for answer in sorted(observed.answers, key=lambda answer: answer.asked_s):
        if not answer.sound or answer.latency_ms >= _SLOW_MS:
            reasons = reasons_of(answer) or [answer.body[:200].decode(errors="replace")]
            lines.append(
                f"{answer.asked_s - observed.began_s:8.3f} s {answer.latency_ms:8.1f} ms "
                f"{answer.status} {' '.join(reasons)}"
            )
    path.write_text("\n".join(lines) + "\n")


def _await_calm(load: Load, ended_s: float, calm_s: float, recovery_s: float) -> None:
    """Wait until all answers have been sound for a while, or for too long."""
    give_up_s = ended_s + recovery_s + calm_s + PATIENCE_S
    while (now_s := time.monotonic()) < give_up_s:
        later = [answer for answer in load.answers if answer.asked_s >= ended_s]
        if now_s - last_unsound_s(later, ended_s) >= calm_s:
            return
        time.sleep(_LOOK_S)

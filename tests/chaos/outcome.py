"""What clients saw of a fault, and whether they may."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tests.chaos.load import Answer
from tests.chaos.requests import Judge
from tests.chaos.scenario import Scenario

PHASES = ("before", "during", "after")


@dataclass
class Outcome:
    """The measured row of a scenario; ``faults`` are the reasons why it is red.

    ``recovery_s`` is the time from the end of the fault to the last answer that was not sound.
    """

    name: str
    subject: str
    fault: str
    requests: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    degraded: dict[str, int] = field(default_factory=dict)
    p50_ms: dict[str, float] = field(default_factory=dict)
    p99_ms: dict[str, float] = field(default_factory=dict)
    longest_ms: float = 0.0
    recovery_s: float = 0.0
    lost: int = 0
    wrong: int = 0
    held_s: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """``green`` or ``red``."""
        return "red" if self.faults else "green"

    def document(self) -> dict[str, Any]:
        """Return the outcome as JSON."""
        return {**asdict(self), "verdict": self.verdict}


@dataclass(frozen=True)
class Observed:
    """Answers, the monotonic times at which the fault began and ended, and what else was seen."""

    answers: Sequence[Answer]
    began_s: float
    ended_s: float
    checks: dict[str, bool]
    tracebacks: int


def outcome(scenario: Scenario, observed: Observed, judge: Judge) -> Outcome:
    """Return the row of a scenario."""
    row = Outcome(scenario.name, scenario.subject, scenario.fault)
    phases = _phases(observed)
    later = [*phases["during"], *phases["after"]]
    row.requests = len(observed.answers)
    row.codes = dict(sorted(Counter(str(a.status) for a in later if a.status).items()))
    row.degraded = dict(sorted(Counter(reason for a in later for reason in reasons_of(a)).items()))
    for name, answers in phases.items():
        latencies = [answer.latency_ms for answer in answers]
        for q, row_ms in ((50, row.p50_ms), (99, row.p99_ms)):
            row_ms[name] = round(float(np.percentile(latencies, q)), 2) if latencies else 0.0
    row.held_s = round(observed.ended_s - observed.began_s, 2)
    row.recovery_s = round(last_unsound_s(phases["after"], observed.ended_s) - observed.ended_s, 2)
    row.longest_ms = round(max((answer.latency_ms for answer in later), default=0.0), 1)
    row.lost = sum(answer.status is None for answer in later)
    ranked = [answer for answer in observed.answers if answer.status == 200]
    row.wrong = sum(not judge.is_right(answer.case, answer.body) for answer in ranked)
    row.faults = list(_faults(scenario, observed, row, phases))
    return row


def last_unsound_s(answers: Sequence[Answer], otherwise: float) -> float:
    """Return when the last answer that was not sound was asked for."""
    return max((a.asked_s for a in answers if not a.sound), default=otherwise)


def _phases(observed: Observed) -> dict[str, list[Answer]]:
    phases: dict[str, list[Answer]] = {name: [] for name in PHASES}
    for answer in observed.answers:
        if answer.asked_s + answer.latency_ms / 1e3 < observed.began_s:
            phases["before"].append(answer)
        else:
            phases["during" if answer.asked_s < observed.ended_s else "after"].append(answer)
    return phases


def reasons_of(answer: Answer) -> list[str]:
    """Return why a ranking is degraded."""
    if answer.status != 200 or answer.sound:
        return []
    reasons: list[str] = json.loads(answer.body)["degraded"]
    return reasons


def _faults(
    scenario: Scenario, observed: Observed, row: Outcome, phases: dict[str, list[Answer]]
) -> list[str]:
    allowed, faults = scenario.allowed, []
    if unsound := sum(not answer.sound for answer in phases["before"]):
        faults.append(
            f"{unsound} of {len(phases['before'])} answers before the fault are not sound"
        )
    if other := set(row.codes) - {str(code) for code in allowed.codes}:
        faults.append(f"codes {', '.join(sorted(other))} are not allowed")
    if other := set(row.degraded) - allowed.degraded:
        faults.append(f"rankings degraded by {', '.join(sorted(other))} are not allowed")
    if unfelt := {str(sign) for sign in allowed.felt} - set(row.codes) - set(row.degraded):
        faults.append(f"the fault was not felt: no {', '.join(sorted(unfelt))}")
    if row.lost > allowed.lost:
        faults.append(f"{row.lost} requests are lost, {allowed.lost} may be")
    if row.recovery_s > allowed.recovery_s:
        faults.append(f"recovery took {row.recovery_s:g} s, it may take {allowed.recovery_s:g} s")
    if allowed.p99_ms is not None and row.p99_ms["during"] > allowed.p99_ms:
        faults.append(
            f"p99 is {row.p99_ms['during']:g} ms during the fault, not {allowed.p99_ms:g}"
        )
    if row.wrong:
        faults.append(f"{row.wrong} answers are wrong")
    if observed.tracebacks:
        faults.append(f"{observed.tracebacks} unknown errors in the replicas' logs")
    faults += [f"not so: {sentence}" for sentence, holds in observed.checks.items() if not holds]
    return faults

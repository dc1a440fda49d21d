"""What a scenario is: a fault, the stack that it needs, and what clients may see of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.stack import Needs, Stack


@dataclass(frozen=True)
class Allowed:
    """What clients may see from the fault on, until ``recovery_s`` after its end.

    ``codes`` are statuses, ``degraded`` reasons of degraded rankings, and ``lost`` is the number of
    requests without an answer. ``felt`` are the codes and reasons that must be seen: otherwise the
    fault did not happen. No answer may be wrong, and no replica may log an unknown error.
    """

    codes: frozenset[int] = frozenset({200})
    degraded: frozenset[str] = frozenset()
    felt: frozenset[int | str] = frozenset()
    lost: int = 0
    recovery_s: float = 1.0
    p99_ms: float | None = None


@dataclass(frozen=True)
class Scenario:
    """A fault: ``inject`` begins it, holds it and ends it."""

    name: str
    subject: str
    fault: str
    allowed: Allowed
    needs: Needs
    inject: Callable[[Stack], None]


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    fault: str, allowed: Allowed, needs: Needs | None = None
) -> Callable[[Callable[[Stack], None]], Callable[[Stack], None]]:
    """Register a function of a stack as a scenario, named like the function."""

    def register(inject: Callable[[Stack], None]) -> Callable[[Stack], None]:
        name = inject.__name__.replace("_", "-")
        subject = inject.__module__.rpartition(".")[2]
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(name, subject, fault, allowed, needs or Needs(), inject)
        return inject

    return register


def degraded(*reasons: str, recovery_s: float = 1.0, p99_ms: float | None = None) -> Allowed:
    """Allow degraded rankings, each reason of which must be seen, and no other code than 200."""
    seen = frozenset(reasons)
    return Allowed(degraded=seen, felt=seen, recovery_s=recovery_s, p99_ms=p99_ms)

"""The wall clock of the replicas jumps."""

from __future__ import annotations

from tests.chaos.scenario import Allowed, scenario
from tests.chaos.stack import Needs, Stack

_HOUR_S = 3600.0


@scenario(
    "The replicas' clocks jump an hour ahead, then two hours back, then right",
    Allowed(),
    Needs(clock=True),
)
def clock_jumps(stack: Stack) -> None:
    for offset_s in (_HOUR_S, -_HOUR_S, 0.0):
        stack.set_clock(offset_s)
        stack.publish(fresh=True)  # changes have the store's time
        stack.hold(2)
        for replica in stack.replicas:
            stack.check("replicas stay ready", replica.ready)

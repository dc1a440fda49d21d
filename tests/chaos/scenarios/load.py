"""More load than the replicas can serve."""

from __future__ import annotations

from tests.chaos.flood import pour
from tests.chaos.scenario import Allowed, scenario
from tests.chaos.stack import Needs, Stack

# A busy replica takes up what the store has answered too late.
_REFUSED = Allowed(
    codes=frozenset({200, 503}),
    degraded=frozenset({"overloaded", "store_unavailable"}),
    felt=frozenset({503}),
)
_APART = Needs(apart=True)


@scenario(
    "Costly rankings at 2 times the rate that the replicas can serve, for 8 s", _REFUSED, _APART
)
def overload_2(stack: Stack) -> None:
    _overload(stack, 2)


@scenario(
    "Costly rankings at 10 times the rate that the replicas can serve, for 8 s", _REFUSED, _APART
)
def overload_10(stack: Stack) -> None:
    _overload(stack, 10)


def _overload(stack: Stack, times: float) -> None:
    item_ids = stack.world.dataset.item_ids
    capacity = pour(stack.port, item_ids, 0, 2 * stack.scale).goodput
    flooded = pour(stack.port, item_ids, times * capacity, 8 * stack.scale)
    other = set(flooded.codes) - {"200", "503"}
    stack.check(f"the flood sees 200 and 503 alone, not {other}", not other)
    stack.check(
        f"goodput is at least half of the capacity, not {flooded.goodput / capacity:.2f}",
        flooded.goodput >= 0.5 * capacity,
    )

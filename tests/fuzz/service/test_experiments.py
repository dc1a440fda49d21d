"""Any plan puts a user into one arm or none, and keeps all users as it grows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.contract.experiments import Plan

SHARES = st.lists(st.floats(1e-3, 1), min_size=1, max_size=5)
USERS = st.lists(st.integers(0, 10**6).map(str), max_size=20)


def plan(shares: list[float], scale: float) -> Plan:
    """Return a plan whose shares sum to ``scale``."""
    total = sum(shares) / scale
    arms = [{"name": f"a{number}", "share": share / total} for number, share in enumerate(shares)]
    return Plan.model_validate({"name": "x", "salt": "s", "arms": arms})


@given(SHARES, st.floats(1e-3, 1), st.floats(1e-3, 1), USERS)
def test_growing_shares_keep_their_users(
    shares: list[float], one: float, other: float, users: list[str]
) -> None:
    before, after = plan(shares, min(one, other)), plan(shares, max(one, other))
    assert after.grown_from(before)
    for user in users:
        if (arm := before.arm(user)) is not None:
            later = after.arm(user)
            assert later is not None
            assert later.name == arm.name


@given(SHARES, USERS)
def test_shares_of_one_leave_nobody_out(shares: list[float], users: list[str]) -> None:
    assert all(plan(shares, 1).arm(user) is not None for user in users)

"""A log worked by hand: two tradeoffs that share their first item."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from training.errors import ConfigError
from training.evaluation.off_policy.from_randomised import FromRandomised, from_randomised

USERS = 100


def decision(number: int, *, neighbours: bool = False, **changes: Any) -> dict[str, Any]:
    """Return a decision; w = 0 ranks a, b and w = 1 ranks a, c. Only c is clicked.

    With ``neighbours``, a is clicked where c stands below it, and c is not.
    """
    at_one = number % 2 == 1
    return {
        "user_id": f"u{number % USERS}",
        "item_ids": ["a", "c" if at_one else "b"],
        "outcomes": [float(at_one and neighbours), float(at_one and not neighbours)],
        "propensities": [1.0, 0.5],
        "tradeoffs": [1.0, 0.0],
        "chances": [0.5, 0.5],
        "stands": [3, 1 if at_one else 2],
        "slot": None,
        **changes,
    }


def estimate(rows: list[dict[str, Any]], **options: Any) -> FromRandomised:
    schema: dict[str, Any] = {
        "slot": pl.Int64,
        "tradeoffs": pl.List(pl.Float64),
        "stands": pl.List(pl.Int64),
    }
    table = pl.DataFrame(rows, schema_overrides=schema, infer_schema_length=None)
    found = from_randomised(
        table, {"a": False, "b": True}, model="m", metric="clicks", default=0.5, **options
    )
    assert found is not None
    return found


def test_an_item_that_both_tradeoffs_show_counts_for_both() -> None:
    named = decision(0, tradeoffs=[], chances=[], stands=[])
    other = decision(0, tradeoffs=[0.5, 1.0])
    found = estimate([*map(decision, range(4 * USERS)), named, other])
    assert (found.source.decisions, found.source.users) == (4 * USERS, USERS)
    assert found.source.left_out == {
        "whose tradeoff was not drawn": 1,
        "that drew from another grid": 1,
    }
    assert found.against == "w = 1"  # the default is not of the grid
    zero, one = found.policies
    for name in ("snips", "ips", "whole_ranking"):
        for policy, truth in ((zero, 0.0), (one, 1.0)):
            value = policy.outcome[name]
            assert value is not None
            assert value.mean == pytest.approx(truth)
    assert [place.effective for place in one.places] == pytest.approx([400, 200])
    assert zero.change is not None
    assert zero.change.mean == pytest.approx(-1.0)
    assert zero.tail_share is not None
    assert one.tail_share is not None
    assert (zero.tail_share.mean, one.tail_share.mean) == pytest.approx((0.5, 0.5))  # c is new
    assert found.notes == ()


def test_places_may_be_fewer() -> None:
    (zero, one) = estimate([decision(n) for n in range(2 * USERS)], places=1).policies
    assert len(one.places) == 1
    assert zero.value == one.value


def test_outcomes_that_depend_on_neighbours_are_noticed() -> None:
    found = estimate([decision(n, neighbours=True) for n in range(4 * USERS)])
    zero, one = found.policies
    assert one.outcome["whole_ranking"] is not None
    assert one.outcome["whole_ranking"].mean == pytest.approx(1.0)
    assert one.value is not None
    assert one.value.mean == pytest.approx(0.5)
    assert zero.value == one.value
    assert len(found.notes) == 2
    assert found.notes[1].startswith("w = 1: whole rankings come to +0.5000 ±")


def test_a_slot_counts_for_places_and_not_for_whole_rankings() -> None:
    slotted = [decision(n, slot=0, outcomes=[0.0, 1.0]) for n in range(0, 2 * USERS, 2)]
    found = estimate([*(decision(n) for n in range(2 * USERS)), *slotted])
    whole, places = (found.policies[0].outcome[name] for name in ("whole_ranking", "snips"))
    assert whole is not None
    assert places is not None
    assert whole.mean == pytest.approx(0.0)
    assert places.mean == pytest.approx(0.5)


def test_a_tradeoff_that_was_not_drawn_is_no_comparison() -> None:
    with pytest.raises(ConfigError, match=r"--against 0\.3: the log's tradeoffs are 0, 1"):
        estimate([decision(0), decision(1)], against=0.3)

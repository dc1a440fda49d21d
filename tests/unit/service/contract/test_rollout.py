"""Versions to which an alias can go back, from its moves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.contract.rollout import Move, moved_at, stack


def _moves(*pairs: tuple[int | None, int] | tuple[int | None, int, bool]) -> list[Move]:
    return [
        Move.model_validate(
            {
                "time": datetime(2026, 1, 1 + day, tzinfo=UTC),
                "alias": "champion",
                "from": pair[0],
                "to": pair[1],
                "undo": len(pair) == 3,
            }
        )
        for day, pair in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("moves", "version", "expected"),
    [
        (_moves(), 1, ()),
        (_moves((None, 1)), 1, ()),
        (_moves((None, 1), (1, 2), (2, 3)), 3, (1, 2)),
        (_moves((None, 1), (1, 2), (2, 3), (3, 2, True)), 2, (1,)),
        (_moves((None, 1), (1, 2), (2, 1, True)), 1, ()),
        (_moves((None, 1), (1, 2), (2, 2)), 2, (1,)),  # tried again
        (_moves((None, 1), (1, 2), (2, 3)), 2, (1,)),  # the last move did not happen
        (_moves((None, 1), (1, 2)), 7, ()),  # moved by hand
    ],
)
def test_the_versions_before(moves: list[Move], version: int, expected: tuple[int, ...]) -> None:
    assert stack(moves, "champion", version) == expected
    assert stack(moves, "candidate", version) == ()


def test_the_time_of_the_move_that_led_to_a_version() -> None:
    moves = _moves((None, 1), (1, 2), (2, 2))
    assert moved_at(moves, "champion", 2) == datetime(2026, 1, 3, tzinfo=UTC)
    assert moved_at(moves, "champion", 1) == datetime(2026, 1, 1, tzinfo=UTC)
    assert moved_at(moves, "champion", 3) is None

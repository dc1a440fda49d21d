"""Options of a simulation: defaults, rows, and values out of range."""

from __future__ import annotations

from typing import Any

import pytest

from training.data.simulate.options import Options
from training.errors import ConfigError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"impressions": 319}, "impressions: 319 is below one user's 320"),
        ({"policy_weight": -0.1}, r"policy_weight: -0.1 is not in \[0, 10\]"),
        ({"policy_weight": 10.1}, r"policy_weight: 10.1 is not in \[0, 10\]"),
        ({"policy_weight": float("nan")}, "policy_weight: nan"),
        ({"seed": -1}, "seed: -1 is negative"),
        ({"impressions": 39, "world": "jester"}, "impressions: 39 is below one user's 40"),
        ({"taste_dim": 8}, "taste_dim: only tastes fitted to TikTok have it"),
        ({"taste_dim": 8, "world": "jester"}, "taste_dim: only tastes fitted to TikTok have it"),
        ({"taste_dim": 0, "world": "tiktok"}, r"taste_dim: 0 is not in \[1, 64\]"),
        ({"taste_dim": 65, "world": "tiktok"}, r"taste_dim: 65 is not in \[1, 64\]"),
    ],
)
def test_an_argument_out_of_range_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Options(**arguments)


@pytest.mark.parametrize(
    ("options", "users", "logged_rows", "uniform_rows"),
    [
        (Options(), 625, 200_000, 35_714),
        (Options(world="tiktok", taste_dim=64), 3_500, 1_120_000, 200_000),
        (Options(world="jester"), 7_200, 288_000, 51_429),
        (Options(world="jester", impressions=420), 10, 400, 71),
        (Options(impressions=320, policy_weight=10), 1, 320, 57),
        (Options(impressions=8_000), 25, 8_000, 1_429),
        (Options(impressions=8_200), 26, 8_320, 1_486),
    ],
)
def test_rows_are_those_of_whole_users(
    options: Options, users: int, logged_rows: int, uniform_rows: int
) -> None:
    assert options.users == users
    assert options.logged_rows == logged_rows
    assert options.uniform_rows == uniform_rows

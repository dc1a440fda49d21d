from __future__ import annotations

import pytest
import torch

from tests.unit.training.nets.planted import two_environments
from training.nets.painvrl.environments import Clicks, fixed_environments, reassign, settled


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_loop_recovers_planted_environments() -> None:
    content, clicks, truth = two_environments(100, 200)
    gates = torch.tensor([1.0] * 4 + [0.0] * 4)  # taste is held invariant
    label = fixed_environments("random", clicks, 2, draw())
    start = float((label == truth).float().mean())

    for step in range(12):
        label, moved = reassign(content, gates, clicks, label, 2, draw(step))
        if settled(moved):
            break

    agreement = float((label == truth).float().mean())
    assert abs(start - 0.5) < 0.05
    assert max(agreement, 1 - agreement) > 0.8


def test_environments_by_popularity_are_equal_parts_from_rare_to_common() -> None:
    item = torch.tensor([0] * 4 + [1] * 3 + [2, 3])
    clicks = Clicks(torch.arange(9), item)

    label = fixed_environments("popularity", clicks, 3, draw())

    assert torch.bincount(label).tolist() == [3, 3, 3]
    assert label[7:].tolist() == [0, 0]
    assert (label[:4] >= label[4:7].max()).all()


def test_environments_by_time_slice_each_user_s_own_clicks() -> None:
    clicks = Clicks(torch.tensor([0, 0, 0, 0, 2, 2]), torch.arange(6))

    assert fixed_environments("time", clicks, 2, draw()).tolist() == [0, 0, 1, 1, 0, 1]


def test_random_environments_are_as_large_as_each_other() -> None:
    clicks = Clicks(torch.zeros(9000, dtype=torch.int64), torch.zeros(9000, dtype=torch.int64))

    share = torch.bincount(fixed_environments("random", clicks, 3, draw())) / 9000

    torch.testing.assert_close(share, torch.full((3,), 1 / 3), atol=0.02, rtol=0)


def test_an_empty_environment_is_drawn_anew() -> None:
    content, clicks, _ = two_environments(20, 40)
    label = torch.zeros(len(clicks.user), dtype=torch.int64)

    labels, moved = reassign(content, torch.zeros(8), clicks, label, 2, draw())

    assert torch.bincount(labels, minlength=2).min() >= 0.01 * len(labels)
    assert not settled(moved)


@pytest.mark.parametrize(("moved", "expected"), [(0.01, True), (0.011, False)])
def test_one_click_in_a_hundred_may_still_move(moved: float, expected: bool) -> None:
    assert settled(moved) is expected

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit

from service.contract.front import Estimate, UserGroup
from service.contract.manifest import Calibration
from tests.datasets import MakeDataset
from training.data.dataset import Dataset
from training.data.split import Split
from training.evaluation.user_groups import largest_gap, meaning, pool_user_groups, user_groups
from training.fitting.calibration import UNCALIBRATED

CALIBRATED = Calibration(slope=1.0, intercept=0.0, meaning="click probability")
USERS = 400
NONE = np.empty(0, np.int64)


@pytest.fixture
def log(make_dataset: MakeDataset) -> tuple[Dataset, Split]:
    """Half of the users click once in ten rows, the others four times; ten rows train, ten test."""
    user = np.repeat(np.arange(USERS), 20)
    place = np.tile(np.arange(20), USERS) % 10
    label = (place < np.where(user < USERS // 2, 1, 4)).astype(np.float32)
    dataset = make_dataset(20 * USERS, users=USERS, user=user, label=label)
    rows = np.arange(20 * USERS)
    is_test = rows % 20 >= 10
    return dataset, Split(rows[~is_test], NONE, rows[is_test], NONE)


def test_groups_are_users_of_like_click_rates(log: tuple[Dataset, Split]) -> None:
    dataset, split = log
    flat = np.full(len(split.test), logit(0.25))

    low, high = user_groups(dataset, split, flat, CALIBRATED)  # ties stay together

    assert (low.users, low.rows) == (200, 2000)
    assert low.click_rate == pytest.approx(0.1)
    assert (high.click_rate, high.predicted, high.observed) == pytest.approx((0.4, 0.25, 0.4))
    assert low.gap.mean == pytest.approx(0.15)
    assert low.gap.se == pytest.approx(0.0, abs=1e-9)  # all users of the group click alike
    assert low.group < high.group


def test_the_error_of_a_gap_is_that_of_redrawn_users(log: tuple[Dataset, Split]) -> None:
    dataset, split = log
    rng = np.random.default_rng(0)
    label = dataset.impressions.label.copy()
    own_rate = rng.random(USERS)[dataset.impressions.user[split.test]]
    label[split.test] = rng.random(len(split.test)) < own_rate
    noisy = replace(dataset, impressions=replace(dataset.impressions, label=label))
    flat = np.full(len(split.test), logit(0.5))

    low, _ = user_groups(noisy, split, flat, CALIBRATED)

    by_user = label[split.test][:2000].reshape(200, 10).mean(axis=1)
    redraws = [rng.choice(by_user, 200).mean() for _ in range(2000)]
    assert low.gap.se == pytest.approx(np.std(redraws), rel=0.1)


@pytest.mark.parametrize("new", [29, 30, USERS])
def test_users_without_training_rows_are_a_group_of_their_own(
    log: tuple[Dataset, Split], new: int
) -> None:
    """They are the first ones, who click once in ten rows; 29 are too few for an error."""
    dataset, split = log
    without = replace(split, train=split.train[dataset.impressions.user[split.train] >= new])
    flat = np.full(len(split.test), logit(0.25))

    groups = user_groups(dataset, without, flat, CALIBRATED)

    assert sum(group.users for group in groups) == (USERS - 29 if new == 29 else USERS)
    if new > 29:
        last = groups[-1]
        assert (last.group, last.users, last.click_rate) == (10, new, None)
        assert last.gap.mean == pytest.approx(0.15 if new == 30 else 0.0)
        assert largest_gap([last]).startswith("users without training rows are predicted 0.250 ")
        assert pool_user_groups([(last,), (last,)])[0].click_rate is None


def test_few_users_make_fewer_groups(make_dataset: MakeDataset) -> None:
    rng = np.random.default_rng(0)
    sizes = []
    for users in (20, 290, 1000):
        label = (rng.random(20 * users) < 0.3).astype(np.float32)
        dataset = make_dataset(20 * users, users=users, label=label)
        rows = np.arange(20 * users)
        split = Split(rows[::2], NONE, rows[1::2], NONE)
        groups = user_groups(dataset, split, np.zeros(len(rows) // 2), CALIBRATED)
        sizes.append((len(groups), min(group.users for group in groups) >= 30))

    assert sizes == [(1, False), (7, True), (10, True)]


def test_a_score_that_is_not_calibrated_has_no_groups(log: tuple[Dataset, Split]) -> None:
    dataset, split = log

    assert user_groups(dataset, split, np.zeros(len(split.test)), UNCALIBRATED) == ()


def group(gap: float, se: float | None, number: int = 0) -> UserGroup:
    return UserGroup(
        group=number,
        users=50,
        rows=500,
        click_rate=0.24,
        predicted=0.279 + gap,
        observed=0.279,
        gap=Estimate(mean=gap, se=se),
    )


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ((), "click probability"),
        ((group(0.02, 0.001), group(-0.049, 0.01)), "click probability; by user group, the larg"),
        ((group(0.02, 0.001), group(-0.051, 0.01)), "a rank score; not calibrated by user group"),
        ((group(0.2, None), group(0.2, 0.01)), "a rank score; not calibrated by user group"),
        ((group(0.2, None), group(0.01, 0.01)), "click probability; by user group unknown, f"),
    ],
)
def test_only_a_calibrated_score_is_a_click_probability(
    groups: tuple[UserGroup, ...], expected: str
) -> None:
    assert meaning(CALIBRATED, groups).startswith(expected)


def test_the_largest_gap_is_named() -> None:
    assert largest_gap([group(0.01, 0.001), group(0.177, 0.0104), group(-0.1, 0.001)]) == (
        "users of training click rate 0.240 are predicted 0.456 and click 0.279 "
        "(gap +0.177 ± 0.010)"
    )


def test_groups_pool_over_seeds() -> None:
    seeds = [(group(0.02, 0.003), group(0.1, 0.1, number=9)), (group(0.04, 0.004),)]

    (pooled,) = pool_user_groups(seeds)

    assert pooled.gap.mean == pytest.approx(0.03)
    assert pooled.gap.se == pytest.approx(np.sqrt(0.0000125 + 0.0001))
    assert pooled.predicted == pytest.approx(0.309)

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from service.contract.attributes import Coding
from service.contract.measures import in_tail
from tests.datasets import MakeDataset
from tests.fitted_nets import COLD, fitted_net
from training.arrays import Floats, Rows
from training.data.dataset import Dataset
from training.data.split import training_clicks, training_rows
from training.evaluation.exposure_shares import exposure_shares
from training.fitting.fitted_net import FittedNet
from training.metrics.exposure import percentile_rank, shown_metrics

USERS = 80
TRADEOFFS = np.array([0.0, 1.0])
CODINGS = (Coding(name="age"), Coding(name="region", categories=("north", "south")))


@dataclass(frozen=True)
class Fixed(FittedNet):
    """Shows two items to each user: 0 and 1 at w = 0, 1 and the cold one at w = 1."""

    def rank_catalogue(self, users: Rows, *_: Any, **__: Any) -> tuple[Rows, Floats]:
        lists = np.array([[0, 1], [1, COLD]])
        top = np.repeat(lists[:, None], len(users), axis=1)  # (T, U, K)
        return top, np.zeros(top.shape)


@pytest.fixture
def people(make_dataset: MakeDataset) -> Dataset:
    """Eighty users of ages 1 to 8: 29 in the north, eleven nowhere, the others in the south."""
    row = np.arange(USERS)
    region = np.c_[row < 29, row >= 40]
    attributes = np.c_[1 + row % 8, region].astype(np.float32)
    # Of the test rows, which decide whose rankings count, each user has one.
    user = np.concatenate([row, row, row, row])
    dataset = make_dataset(len(user), users=USERS, items=20, user=user)
    return replace(dataset, user_attributes=attributes, user_codings=CODINGS)


def fixed(dataset: Dataset) -> Fixed:
    fitted = fitted_net(dataset)
    return Fixed(fitted.net, dataset, fitted.split, fitted.warm)


def test_shares_and_changes_of_items_by_hand(people: Dataset) -> None:
    exposure = exposure_shares(fixed(people), TRADEOFFS)

    groups = {group.group: group for group in exposure.items}
    cold = groups["cold items (no training impressions)"]
    assert (cold.items, cold.catalogue) == (1, 1 / 20)
    assert [e.mean for e in cold.shown] == [0.0, 0.5]
    assert [e.mean for e in cold.change] == [-0.5, 0.0]
    without = groups["items without visual"]  # item 1
    assert [e.mean for e in without.shown] == [0.5, 0.5]
    assert [e.se for e in without.shown] == [0.0, 0.0]
    rows = training_rows(people, fixed(people).split)
    assert without.logged == rows[1] / rows.sum()
    assert "items without text" not in groups  # each has it


def test_deciles_hold_all_places_and_the_tail_is_the_first_eight(people: Dataset) -> None:
    fitted = fixed(people)
    exposure = exposure_shares(fitted, TRADEOFFS)

    deciles = [group for group in exposure.items if group.group.startswith("popularity decile")]
    assert sum(group.items for group in deciles) == 20
    assert sum(group.logged for group in deciles) == pytest.approx(1)
    tail = [group for group in deciles if int(group.group.split()[2]) <= 8]
    top, _ = fitted.rank_catalogue(np.arange(3), TRADEOFFS)
    clicks = training_clicks(people, fitted.split)
    assert sum(group.items for group in tail) == in_tail(percentile_rank(clicks)).sum()
    for t, lists in enumerate(top):
        assert sum(group.shown[t].mean for group in deciles) == pytest.approx(1)
        expected = shown_metrics(lists, clicks, clicks)["tail_share"].mean
        assert sum(group.shown[t].mean for group in tail) == pytest.approx(expected)
        assert exposure.everyone.tail_share[t].mean == pytest.approx(expected)


def test_groups_of_users_by_attribute_and_none_too_small(people: Dataset) -> None:
    fitted = fixed(people)
    ranked = np.unique(people.impressions.user[fitted.split.test])
    exposure = exposure_shares(fitted, TRADEOFFS)

    assert exposure.users == exposure.everyone.users == len(ranked)
    groups = {(group.attribute, group.group): group.users for group in exposure.user_groups}
    south = np.count_nonzero(ranked >= 40)
    assert groups == {("region", "south"): south}
    assert south >= 30
    assert exposure.small_groups == 4 + 2  # ranges of age; the north; those who live nowhere


def test_without_attributes_there_are_no_groups(dataset: Dataset) -> None:
    exposure = exposure_shares(fixed(dataset), TRADEOFFS)

    assert (exposure.user_groups, exposure.small_groups) == ((), 0)
    assert exposure.items[0].shown[0].se is None  # of twelve users

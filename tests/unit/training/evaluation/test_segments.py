from __future__ import annotations

import numpy as np
import pytest

from service.contract.front import Estimate
from tests.datasets import MakeDataset
from training.data.dataset import Dataset
from training.data.split import split_rows
from training.errors import ConfigError
from training.evaluation.report.schema import Segment
from training.evaluation.segments import hidden_users, pool, priors, without_users

PARTS = ("train", "validation", "test", "unbiased")


# Hiding users


def test_the_hidden_users_are_fixed(dataset: Dataset) -> None:
    assert len(hidden_users(dataset, 0.25)) == 3
    assert hidden_users(dataset, 0.25).tolist() == hidden_users(dataset, 0.25).tolist()
    assert hidden_users(dataset, 0.0).tolist() == []


def test_a_share_that_hides_nobody_is_refused(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"--cold-users: 0.01 of 12 users leaves none"):
        hidden_users(dataset, 0.01)


def test_users_of_uniform_rows_alone_have_nothing_to_hide(make_dataset: MakeDataset) -> None:
    user = np.r_[np.arange(180) % 4, np.arange(60) % 12]

    assert set(hidden_users(make_dataset(user=user), 0.5).tolist()) < set(range(4))


def test_hidden_users_keep_their_test_rows_alone(dataset: Dataset) -> None:
    split = split_rows(dataset, validation=0.2, test=0.2, seed=0)
    user = dataset.impressions.user
    everywhere = [u for u in range(12) if all(u in user[getattr(split, part)] for part in PARTS)]
    hidden = np.array(everywhere[:2])

    rest = without_users(dataset, split, hidden)
    again = split_rows(rest, validation=0.4, test=0.1, seed=9)  # shares no longer matter

    before, after = dataset.impressions, rest.impressions
    for part in PARTS[:2]:
        rows = getattr(split, part)
        visible = rows[~np.isin(before.user[rows], hidden)]
        assert 0 < len(visible) < len(rows)
        remaining = getattr(again, part)
        for column in ("user", "item", "label", "timestamp", "position"):
            np.testing.assert_array_equal(
                getattr(after, column)[remaining], getattr(before, column)[visible]
            )
        np.testing.assert_array_equal(after.proxies[remaining], before.proxies[visible])
    for part in PARTS[2:]:
        assert after.timestamp[getattr(again, part)].tolist() == (
            before.timestamp[getattr(split, part)].tolist()
        )
        assert np.isin(hidden, after.user[getattr(again, part)]).all()
    assert after.propensity is None


def test_a_dataset_without_users_is_another_one(dataset: Dataset) -> None:
    split = split_rows(dataset, validation=0.2, test=0.2, seed=0)
    prints = {
        without_users(dataset, split, np.array(hidden)).fingerprint
        for hidden in ([1], [2], [1, 2], [1, 2])
    }

    assert len(prints | {dataset.fingerprint}) == 4
    assert all(len(name) == 64 for name in prints)


# Priors


def test_the_click_rate_of_an_item_is_drawn_to_the_mean(make_dataset: MakeDataset) -> None:
    item = np.array([0, 0, 0, 0, 1, 1, 2, 0])
    label = np.array([1, 1, 1, 0, 0, 0, 1, 1], np.float32)
    dataset = make_dataset(8, item=item, label=label)

    rate = priors(dataset, np.arange(6), seed=0)["click rate"]

    # Six training rows, half of them clicked: ten more rows at a rate of one half.
    expected = {0: (3 + 5) / 14, 1: 5 / 12, 2: 0.5}
    assert rate == pytest.approx([expected[one] for one in item])


def test_proxies_alone_rank_as_in_the_training_rows(make_dataset: MakeDataset) -> None:
    rng = np.random.default_rng(0)
    proxies = np.c_[rng.normal(size=2000), np.full(2000, np.nan), np.ones(2000)]
    label = (rng.random(2000) < np.where(np.abs(proxies[:, 0]) < 0.5, 0.9, 0.1)).astype("f4")
    label[1000:] = 1 - label[1000:]  # not to be learned from
    dataset = make_dataset(2000, proxies=proxies.astype(np.float32), label=label)

    score = priors(dataset, np.arange(1000), seed=0)["proxies"][1000:]

    middle = np.abs(proxies[1000:, 0]) < 0.45
    outer = np.abs(proxies[1000:, 0]) > 0.55
    assert score[middle].min() > score[outer].max()


def test_without_proxies_there_is_no_such_prior(dataset: Dataset) -> None:
    blind = dataset.with_proxies(np.full_like(dataset.impressions.proxies, np.nan))

    assert list(priors(blind, np.arange(100), seed=0)) == ["click rate"]


# Pooling


def segment(name: str, rows: int, **auc: Estimate) -> Segment:
    return Segment(side="logged", name=name, rows=rows, clicks=2, users=3, items=4, auc=auc)


def test_errors_of_users_and_of_seeds_add_up() -> None:
    seeds: list[tuple[Segment, ...]] = [
        (segment("warm", 10, w=Estimate(mean=0.6, se=0.03), prior=Estimate(mean=0.5)),),
        (segment("warm", 20, w=Estimate(mean=0.7, se=0.05), prior=Estimate(mean=0.4, se=0.1)),),
    ]

    (pooled,) = pool(seeds)

    assert (pooled.name, pooled.rows, pooled.clicks) == ("warm", 15.0, 2.0)
    assert pooled.auc["w"].mean == pytest.approx(0.65)
    # (.03^2 + .05^2) / 2 of the users, .1^2 / 2 / 2 of the seeds.
    assert pooled.auc["w"].se == pytest.approx(np.sqrt(0.0017 + 0.0025))
    assert pooled.auc["prior"] == Estimate(mean=0.45)


def test_one_seed_keeps_its_error() -> None:
    single = segment("warm", 10, w=Estimate(mean=0.6, se=0.03))

    (pooled,) = pool([(single,)])

    assert pooled.auc["w"].se == pytest.approx(0.03)
    assert pooled.model_copy(update={"auc": single.auc}) == single


def test_a_segment_that_a_seed_lacks_is_left_out() -> None:
    both = Estimate(mean=0.6, se=0.03)
    seeds: list[tuple[Segment, ...]] = [
        (segment("warm", 10, w=both, prior=both), segment("cold", 1, w=both)),
        (segment("warm", 10, w=both),),
    ]

    (pooled,) = pool(seeds)

    assert (pooled.name, list(pooled.auc)) == ("warm", ["w"])

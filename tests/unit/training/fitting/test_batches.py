from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.datasets import MakeDataset
from training.data.dataset import Dataset
from training.fitting.batches import SlateBatches, training_tables, warm_items
from training.nets.base import Slates

ROWS = np.arange(0, 180, 2)  # 90 rows of 12 users


@pytest.fixture
def batches(dataset: Dataset) -> SlateBatches:
    return SlateBatches(numbered(dataset), ROWS, slate=4, batch_slates=5)


def numbered(dataset: Dataset) -> Dataset:
    """Write each row's number into its position, so that batches show which rows they hold."""
    rows = np.arange(len(dataset.impressions))
    return replace(dataset, impressions=replace(dataset.impressions, position=rows))


def epoch(batches: SlateBatches, seed: int = 0) -> list[Slates]:
    return list(batches.epoch(torch.Generator().manual_seed(seed)))


def test_an_epoch_deals_every_row_once(batches: SlateBatches) -> None:
    dealt = epoch(batches)

    rows = torch.cat([batch.position for batch in dealt])
    assert sorted(rows.tolist()) == ROWS.tolist()
    assert len(dealt) == len(batches)
    assert batches.rows == 90
    assert {len(batch.user) for batch in dealt[:-1]} == {5}


def test_a_batch_holds_the_columns_of_its_rows(batches: SlateBatches, dataset: Dataset) -> None:
    impressions = dataset.impressions
    for batch in epoch(batches):
        row = batch.position.numpy()
        assert batch.item.tolist() == impressions.item[row].tolist()
        assert batch.label.tolist() == impressions.label[row].tolist()
        np.testing.assert_array_equal(batch.proxies, impressions.proxies[row])


def test_a_slate_holds_consecutive_rows_of_one_user(
    batches: SlateBatches, dataset: Dataset
) -> None:
    user, time = dataset.impressions.user, dataset.impressions.timestamp
    history = {u: ROWS[user[ROWS] == u] for u in np.unique(user[ROWS])}
    history = {u: rows[np.argsort(time[rows])].tolist() for u, rows in history.items()}
    for batch in epoch(batches):
        assert batch.lengths().tolist() == torch.bincount(batch.slate).tolist()
        for slate, u in enumerate(batch.user.tolist()):
            rows = batch.position[batch.slate == slate].tolist()
            first = history[u].index(rows[0])
            assert first % 4 == 0
            assert rows == history[u][first : first + 4]


def test_a_short_slate_has_its_rows_alone(make_dataset: MakeDataset) -> None:
    user = np.repeat([0, 1], [5, 1])
    dataset = make_dataset(6, users=2, user=user, timestamp=np.arange(6.0))
    (batch,) = epoch(SlateBatches(numbered(dataset), np.arange(6), slate=4, batch_slates=8))

    slates = [
        (int(user), *rows.tolist())
        for user, rows in zip(
            batch.user, batch.position.split(batch.lengths().tolist()), strict=True
        )
    ]
    assert sorted(slates) == [(0, 0, 1, 2, 3), (0, 4), (1, 5)]
    assert batch.start.tolist() == [(batch.slate == slate).nonzero()[0] for slate in range(3)]


def test_equal_seeds_deal_in_equal_order(batches: SlateBatches) -> None:
    def order(seed: int) -> list[int]:
        return torch.cat([batch.position for batch in epoch(batches, seed)]).tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_rows_of_one_time_keep_their_order(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(8, users=1, timestamp=np.zeros(8))
    (batch,) = epoch(SlateBatches(numbered(dataset), np.arange(8), slate=8, batch_slates=1))

    assert batch.position.tolist() == list(range(8))


def test_tables_of_a_dataset_without_positions_hold_zero(make_dataset: MakeDataset) -> None:
    tables = training_tables(make_dataset(position=None), ROWS)

    assert tables.position.tolist() == [0] * 90
    assert tables.dims == (3, 2)


def test_an_item_is_warm_by_its_training_rows(dataset: Dataset) -> None:
    rows = np.flatnonzero(np.isin(dataset.impressions.item, [2, 3, 7]))

    warm = warm_items(training_tables(dataset, rows))

    assert warm.nonzero().flatten().tolist() == [2, 3, 7]
    assert len(warm) == 10


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 7])
def test_shares_together_are_the_batch_of_one_process(
    batches: SlateBatches, processes: int
) -> None:
    whole = epoch(batches)
    dealt = list(batches.deal(torch.Generator().manual_seed(0)))
    assert len(dealt) == len(whole)
    for batch, chosen in zip(whole, dealt, strict=True):
        shares = [batches.share(chosen, rank, processes) for rank in range(processes)]
        dealt_slates = [batches.slates(chosen) for chosen, weight in shares if weight > 0]
        for name in ("user", "item", "label", "position", "propensity", "offset"):
            together = torch.cat([getattr(slates, name) for slates in dealt_slates])
            assert torch.equal(together, getattr(batch, name)), name
        sizes = [len(part) if weight > 0 else 0 for part, weight in shares]
        assert max(sizes) - min(sizes) <= 1
        assert all(len(part) > 0 for part, _ in shares)


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_the_average_of_weighted_means_is_the_mean_of_the_batch(
    batches: SlateBatches, processes: int
) -> None:
    for chosen in batches.deal(torch.Generator().manual_seed(0)):
        batch = batches.slates(chosen)
        means = 0.0
        for rank in range(processes):
            share, weight = batches.share(chosen, rank, processes)
            slates = batches.slates(share)
            means += weight * float(slates.position.double().mean())
        expected = float(batch.position.double().mean())
        assert means / processes == pytest.approx(expected)
        assert batches.rows_in(chosen) == len(batch.item)


def test_one_process_has_the_whole_batch_at_a_weight_of_exactly_one(batches: SlateBatches) -> None:
    for chosen in batches.deal(torch.Generator().manual_seed(0)):
        share, weight = batches.share(chosen, 0, 1)
        assert torch.equal(share, chosen)
        assert weight == 1.0


def test_slates_of_uneven_length_weigh_by_their_rows(make_dataset: MakeDataset) -> None:
    user = np.repeat([0, 1], [5, 1])  # slates of 4, 1 and 1 rows
    dataset = make_dataset(6, users=2, user=user, timestamp=np.arange(6.0))
    batches = SlateBatches(dataset, np.arange(6), slate=4, batch_slates=8)

    first, second = (batches.share(torch.arange(3), rank, 2) for rank in range(2))

    assert first[0].tolist() == [0, 1]
    assert second[0].tolist() == [2]
    assert (first[1], second[1]) == pytest.approx((2 * 5 / 6, 2 * 1 / 6))
    assert batches.share(torch.arange(1), 1, 2)[1] == 0.0

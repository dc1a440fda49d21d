from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tests.datasets import MakeDataset
from training.arrays import Rows
from training.data.dataset import Dataset
from training.data.split import Split
from training.fitting.batches import training_tables
from training.fitting.exposure import exposure_offset, propensities
from training.fitting.fitted_net import FittedNet
from training.nets.cp2rec.decomposed import Cp2recDecomposed, Cp2recOptions


def test_logged_propensities_are_taken_and_floored(dataset: Dataset) -> None:
    logged = np.linspace(0.001, 1.0, len(dataset.impressions)).astype(np.float32)
    with_propensity = replace(dataset, impressions=replace(dataset.impressions, propensity=logged))
    rows = np.array([0, 5, len(logged) - 1])
    np.testing.assert_array_equal(
        propensities(with_propensity, rows, 0.05), np.maximum(logged[rows], np.float32(0.05))
    )


def test_without_them_popularity_stands_in(make_dataset: MakeDataset) -> None:
    item = np.array([0, 0, 0, 0, 1, 2, 2])
    dataset = make_dataset(7, items=3, item=item)
    without = replace(dataset, impressions=replace(dataset.impressions, propensity=None))
    rows = np.arange(5)  # item 2 is outside: the counts are 4 and 1
    np.testing.assert_allclose(propensities(without, rows, 0.1), [1, 1, 1, 1, 0.5])
    np.testing.assert_allclose(propensities(without, rows, 0.6), [1, 1, 1, 1, 0.6])


def teacher(net: Cp2recDecomposed, dataset: Dataset, rows: Rows) -> FittedNet:
    warm = torch.ones(len(dataset.item_ids), dtype=torch.bool)
    return FittedNet(net, dataset, Split(rows, rows[:0], rows[:0], rows[:0]), warm)


def test_the_offset_is_the_gain_of_a_row_s_proxies_over_random_ones(dataset: Dataset) -> None:
    rows = np.flatnonzero(~dataset.impressions.uniform)
    torch.manual_seed(0)
    net = Cp2recDecomposed(training_tables(dataset, rows), Cp2recOptions(dim=4, proxy_bins=4))
    with torch.no_grad():
        net.item_encoder.proxy.embedding.weight.normal_()
    offset = exposure_offset(teacher(net, dataset, rows), draws=400, seed=3)
    proxies = torch.from_numpy(dataset.impressions.proxies[rows])
    with torch.no_grad():
        pull = net.item_encoder.readout(net.item_encoder.proxy(proxies)).sum(1).numpy()
    np.testing.assert_allclose(offset, pull - pull.mean(), atol=0.25 * pull.std())
    assert abs(offset.mean()) < 1e-6
    assert np.corrcoef(offset, pull)[0, 1] > 0.99


def test_the_offset_does_not_touch_the_dataset(dataset: Dataset) -> None:
    rows = np.flatnonzero(~dataset.impressions.uniform)
    before = dataset.impressions.proxies.copy()
    net = Cp2recDecomposed(training_tables(dataset, rows), Cp2recOptions(dim=4, proxy_bins=4))
    exposure_offset(teacher(net, dataset, rows), draws=2, seed=0)
    np.testing.assert_array_equal(dataset.impressions.proxies, before)

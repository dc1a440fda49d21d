from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.datasets import MakeDataset
from tests.fitted_nets import split_in_order
from training.data.dataset import Dataset
from training.data.split import Split, unbiased_rows


def test_uniformly_exposed_rows_are_the_unbiased_axis(dataset: Dataset) -> None:
    rows, kind = unbiased_rows(dataset, split_in_order(dataset))

    assert rows.tolist() == list(range(180, 240))
    assert kind == "uniform exposure"


def test_the_dataset_names_the_kind_of_its_unbiased_rows(dataset: Dataset) -> None:
    description = dataset.description.model_copy(update={"unbiased_kind": "all pairs rated"})

    _, kind = unbiased_rows(replace(dataset, description=description), split_in_order(dataset))

    assert kind == "all pairs rated"


def test_without_them_the_less_popular_test_rows_stand_in(make_dataset: MakeDataset) -> None:
    item = np.array([0, 0, 0, 1, 1, 2, 3, 3, 0, 1, 2, 4, 1])
    dataset = make_dataset(13, item=item, uniform=np.zeros(13, bool))
    none = np.empty(0, np.int64)

    rows, kind = unbiased_rows(dataset, Split(np.arange(8), none, np.arange(8, 13), none))

    assert rows.tolist() == [9, 10, 11, 12]  # counts of the test rows: 3, 2, 1, 0, 2
    assert kind == "less popular half of the logged test"

"""Counting over impressions goes by chunks; the results do not depend on their size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.datasets import MakeDataset
from training.fitting.batches import training_tables, warm_items
from training.nets.cp2rec.histories import Histories


def test_counts_over_rows_do_not_depend_on_chunks(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset()
    tables = training_tables(dataset, np.arange(0, 240, 2))
    users = torch.arange(12)
    whole, items = Histories(tables.embedding, tables).means(users), warm_items(tables)

    monkeypatch.setattr("training.data.storage.CHUNK_ROWS", 11)
    monkeypatch.setattr("training.nets.cp2rec.histories._CHUNK_ROWS", 11)
    for chunked, expected in zip(
        Histories(tables.embedding, tables).means(users), whole, strict=True
    ):
        assert torch.equal(chunked, expected)
    assert torch.equal(warm_items(tables), items)

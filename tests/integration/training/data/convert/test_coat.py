"""Coat's converter: answers computed by hand, and the real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract.manifest import Modality, Proxy
from tests.integration.training.data.convert.real_files import DATA, needs
from tests.integration.training.data.convert.refusals import assert_refused
from tests.integration.training.data.convert.sources.coat import SOURCE
from training.data.convert.coat import prepare_coat
from training.data.dataset import open_dataset


@pytest.fixture
def coat(tmp_path: Path) -> Path:
    return SOURCE.write(tmp_path / "coat")


def test_impressions(coat: Path, tmp_path: Path) -> None:
    prepare_coat(coat, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet", glob=False)
    assert rows.select("user_id", "item_id", "label", "exposure", "timestamp").rows() == [
        ("u000", "i000", 1, "logged", 0),
        ("u000", "i002", 0, "logged", 0),
        ("u001", "i001", 1, "logged", 0),
        ("u002", "i000", 0, "logged", 0),
        ("u002", "i003", 0, "logged", 0),
        ("u000", "i001", 0, "uniform", 0),
        ("u001", "i002", 1, "uniform", 0),
        ("u001", "i003", 0, "uniform", 0),
        ("u002", "i002", 1, "uniform", 0),
    ]


def test_items_and_users(coat: Path, tmp_path: Path) -> None:
    prepare_coat(coat, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.titles == [
        "women parkas jacket black #000",
        "men track jacket red #001",
        "women track jacket black #002",
        "men parkas jacket red #003",
    ]
    assert dataset.proxy_fields == (
        Proxy(name="onfrontpage", kind="categorical", categories=("yes", "no")),
    )
    np.testing.assert_array_equal(dataset.proxies, [[0], [1], [1], [1]])
    np.testing.assert_array_equal(dataset.impressions.proxies[:3], [[0], [1], [1]])
    assert dataset.modalities == (Modality(name="attributes", dim=6),)
    np.testing.assert_array_equal(
        dataset.embedding,
        [[0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 0, 1], [0, 1, 0, 1, 1, 0], [1, 0, 1, 0, 0, 1]],
    )
    assert dataset.description.user_attributes == (
        "gender_men",
        "age_20_30",
        "age_over_60",
        "fashioninterest_not_at_all",
    )
    np.testing.assert_array_equal(
        dataset.user_attributes, [[1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
    )


@pytest.mark.parametrize(
    ("name", "text", "column", "row", "problem"),
    [
        ("train.ascii", "5 0 3 0\n0 4 0\n1 0 0 2\n", None, None, "must be a matrix"),
        ("train.ascii", "5 0 x 0\n0 4 0 0\n1 0 0 2\n", None, None, "must be a matrix"),
        ("train.ascii", "", None, None, "must be a matrix"),
        ("test.ascii", "1 0\n0 1\n", None, None, r"is \(2, 2\), not \(users, items\) = \(3, 4\)"),
        ("test.ascii", "0 0 0 0\n0 0 0 6\n0 0 0 0\n", "3", 1, "6 is not a rating"),
        ("train.ascii", "0 0 0 0\n0 2.5 0 0\n0 0 0 0\n", "1", 1, "2.5 is not a rating"),
        ("user_features.ascii", "1 0 0 1\n0 1 2 0\n0 1 0 1\n", "2", 1, "2 is not 0 or 1"),
        ("user_features_map.txt", "a:b\na:c\na:d\n", None, None, "lists 3 features; .* 4 columns"),
        ("user_features_map.txt", "a:b\na:c\nage\na:d", None, 2, "must be a feature 'group:value'"),
        (
            "item_features.ascii",
            "0 1 1 0 1 0 1 0\n1 0 0 1 0 1 1 1\n0 1 0 1 1 0 0 1\n1 0 1 0 0 1 0 1\n",
            "onfrontpage",
            1,
            "needs exactly one 1 in this group",
        ),
    ],
)
def test_a_malformed_file_is_named(
    coat: Path,
    name: str,
    text: str,
    column: str | None,
    row: int | None,
    problem: str,
) -> None:
    (coat / name).write_text(text)
    assert_refused(prepare_coat, coat, name, problem, column=column, row=row)


@needs("coat")
def test_the_real_files(tmp_path: Path) -> None:
    prepare_coat(DATA / "coat", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    rows = dataset.impressions
    assert (len(dataset.user_ids), len(dataset.item_ids)) == (290, 300)
    assert (~rows.uniform).sum() == 6_960
    assert rows.uniform.sum() == 4_640 - 366
    pairs = rows.user * 300 + rows.item
    assert len(np.unique(pairs)) == len(pairs)
    assert dataset.modalities == (Modality(name="attributes", dim=31),)
    assert (dataset.embedding.sum(axis=1) == 3).all()  # one gender, one type, one colour
    assert dataset.user_attributes.shape == (290, 14)
    assert (dataset.proxies[:, 0] == 0).sum() == 16  # on the front page
    assert len(set(dataset.titles)) == 300

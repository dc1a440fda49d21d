"""The TikTok cut's converter: answers computed by hand, and the real file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from service.contract.manifest import Modality
from tests.integration.training.data.convert.real_files import DATA, needs
from tests.integration.training.data.convert.refusals import assert_refused
from tests.integration.training.data.convert.sources.tiktok import FILE, SOURCE, archive
from training.data.convert.tiktok import prepare_tiktok
from training.data.dataset import open_dataset
from training.errors import DatasetError


def test_impressions_and_items(tmp_path: Path) -> None:
    source = SOURCE.write(tmp_path / "source")
    prepare_tiktok(source, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet", glob=False)
    assert rows.select("user_id", "item_id", "split").rows() == [
        ("u0000", "i0001", "train"),
        ("u0000", "i0002", "train"),
        ("u0001", "i0001", "train"),
        ("u0002", "i0001", "train"),
        ("u0003", "i0000", "validation"),
        ("u0001", "i0003", "test"),
        ("u0002", "i0000", "test"),
    ]
    assert set(rows["label"]) == {1}
    assert set(rows["exposure"]) == {"logged"}
    assert set(rows["timestamp"]) == {0}

    dataset = open_dataset(tmp_path / "out")
    assert len(dataset.user_ids) == 4
    assert dataset.titles == ["Video 0000", "Video 0001", "Video 0002", "Video 0003"]
    assert dataset.modalities == (Modality(name="image", dim=2), Modality(name="audio", dim=1))
    np.testing.assert_allclose(dataset.proxies[:, 0], [0, 1.3862944, 0.6931472, 0], rtol=1e-6)
    np.testing.assert_array_equal(
        dataset.impressions.proxies[:, 0], dataset.proxies[:, 0][[1, 2, 1, 1, 0, 3, 0]]
    )
    np.testing.assert_array_equal(dataset.embedding[:3], [[1, 2, -1], [3, 4, -2], [5, 6, -3]])
    assert np.load(tmp_path / "out/embeddings/image.npy").dtype == np.float32
    assert dataset.embedding[3, 1] == np.float32(np.float16(0.1))


@pytest.mark.parametrize(
    ("replaced", "column", "row", "problem"),
    [
        ({"audio": None}, "audio", None, "is missing; the file has trn, val, tst, image"),
        ({"tst": None}, "tst", None, "is missing"),
        ({"image": np.ones(4)}, "image", None, r"must be floats \(items, dim\)"),
        ({"image": np.ones((4, 2), int)}, "image", None, "must be floats .* not int64"),
        ({"audio": np.ones((3, 1))}, "audio", None, "has 3 items where image has 4"),
        ({"audio": np.array([[0.0], [0], [np.nan], [0]])}, "audio", 2, "NaN or infinite"),
        ({"trn": np.ones((2, 3), int)}, "trn", None, r"must be integers \(n, 2\)"),
        ({"val": np.ones((1, 2))}, "val", None, r"must be integers \(n, 2\)"),
        ({"trn": np.zeros((0, 2), int)}, "trn", None, "has no positives"),
        ({"tst": np.array([[0, 1], [0, 4]])}, "tst", 1, r"\(0, 4\) is not .* item < 4"),
        ({"trn": np.array([[0, 1], [-1, 2]])}, "trn", 1, r"\(-1, 2\) is not"),
    ],
)
def test_a_malformed_file_is_named(
    tmp_path: Path,
    replaced: dict[str, NDArray[np.generic] | None],
    column: str,
    row: int | None,
    problem: str,
) -> None:
    source = SOURCE.write(tmp_path / "source", archive(**replaced))
    assert_refused(prepare_tiktok, source, FILE, problem, column=column, row=row)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04broken"])
def test_refuses_a_file_that_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DatasetError, match=r"tiktok\.npz: is not an \.npz of arrays"):
        prepare_tiktok(tmp_path, tmp_path / "out")


def test_refuses_a_single_array(tmp_path: Path) -> None:
    with (tmp_path / FILE).open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(DatasetError, match=r"tiktok\.npz: is not an \.npz of arrays"):
        prepare_tiktok(tmp_path, tmp_path / "out")


@needs("tiktok")
def test_the_real_file(tmp_path: Path) -> None:
    prepare_tiktok(DATA / "tiktok", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    rows = dataset.impressions
    assert (len(dataset.user_ids), len(dataset.item_ids)) == (9_308, 6_710)
    assert rows.split is not None
    assert np.bincount(rows.split).tolist() == [59_541, 3_051, 6_130]
    assert (dataset.proxies[:, 0] == 0).sum() == 465  # without a training positive
    assert dataset.embedding.shape == (6_710, 256)
    assert dataset.modality_mask.all()

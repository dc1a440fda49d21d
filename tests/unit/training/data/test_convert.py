"""Converters: small files in the owners' own format with answers known by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from service.contract.manifest import Modality, Proxy
from tests.unit.training.data.refusals import assert_refused
from training.data.convert import CONVERTERS, prepare_coat, prepare_tiktok
from training.data.dataset import open_dataset
from training.errors import DatasetError

DATA = Path(__file__).parents[5] / "shared" / "data"

COAT = {
    # 3 users x 4 items; the owners' maps have no newline at their end.
    "train.ascii": "5 0 3 0\n0 4 0 0\n1 0 0 2\n",
    "test.ascii": "4 1 0 0\n0 0 5 3\n0 0 4 0\n",  # the first cell is rated in train too
    "item_features.ascii": ("0 1 1 0 1 0 1 0\n1 0 0 1 0 1 0 1\n0 1 0 1 1 0 0 1\n1 0 1 0 0 1 0 1\n"),
    "item_features_map.txt": (
        "gender:men\ngender:women\njackettype:parkas\njackettype:track\ncolor:black\ncolor:red\n"
        "onfrontpage:yes\nonfrontpage:no"
    ),
    "user_features.ascii": "1 0 0 1\n0 1 1 0\n0 1 0 1\n",
    "user_features_map.txt": "gender:men\nage:20-30\nage:over 60\nfashioninterest:not at all",
}


@pytest.fixture
def coat(tmp_path: Path) -> Path:
    source = tmp_path / "coat"
    source.mkdir()
    for name, text in COAT.items():
        (source / name).write_text(text)
    return source


def tiktok_arrays() -> dict[str, NDArray[np.generic]]:
    return {
        "trn": np.array([[0, 1], [0, 2], [1, 1], [2, 1]], np.int16),
        "val": np.array([[3, 0]], np.int16),
        "tst": np.array([[1, 3], [2, 0]], np.int16),
        "image": np.array([[1, 2], [3, 4], [5, 6], [7, 0.1]], np.float16),
        "audio": np.array([[-1], [-2], [-3], [-4]], np.float16),
    }


def tiktok(folder: Path, **replaced: NDArray[np.generic] | None) -> Path:
    folder.mkdir(exist_ok=True)
    arrays = {k: v for k, v in (tiktok_arrays() | replaced).items() if v is not None}
    np.savez(folder / "tiktok.npz", **arrays)  # type: ignore[arg-type]
    return folder


def test_converters_by_name() -> None:
    assert set(CONVERTERS) == {
        *("coat", "kuairand", "kuairec", "movielens", "open_bandit", "tiktok"),
    }


def test_coat_impressions(coat: Path, tmp_path: Path) -> None:
    prepare_coat(coat, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet")
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


def test_coat_items_and_users(coat: Path, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("name", COAT)
def test_coat_names_a_missing_file(coat: Path, name: str) -> None:
    (coat / name).unlink()
    assert_refused(prepare_coat, coat, name, "is missing; the source is the folder")


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
def test_coat_names_what_is_malformed(
    coat: Path,
    name: str,
    text: str,
    column: str | None,
    row: int | None,
    problem: str,
) -> None:
    (coat / name).write_text(text)
    assert_refused(prepare_coat, coat, name, problem, column=column, row=row)


def test_tiktok(tmp_path: Path) -> None:
    source = tiktok(tmp_path / "source")
    prepare_tiktok(source, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet")
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
def test_tiktok_names_what_is_malformed(
    tmp_path: Path,
    replaced: dict[str, NDArray[np.generic] | None],
    column: str,
    row: int | None,
    problem: str,
) -> None:
    source = tiktok(tmp_path / "source", **replaced)
    assert_refused(prepare_tiktok, source, "tiktok.npz", problem, column=column, row=row)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04broken"])
def test_tiktok_refuses_a_file_that_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tiktok.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"tiktok\.npz: is not an \.npz of arrays"):
        prepare_tiktok(tmp_path, tmp_path / "out")


def test_tiktok_refuses_a_single_array(tmp_path: Path) -> None:
    with (tmp_path / "tiktok.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(DatasetError, match=r"tiktok\.npz: is not an \.npz of arrays"):
        prepare_tiktok(tmp_path, tmp_path / "out")


def test_tiktok_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is missing; the source is the folder") as caught:
        prepare_tiktok(tmp_path, tmp_path / "out")
    assert caught.value.file == tmp_path / "tiktok.npz"


@pytest.mark.parametrize("prepare", CONVERTERS.values(), ids=CONVERTERS)
def test_a_folder_in_use_is_refused(tmp_path: Path, prepare: Callable[[Path, Path], None]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious.txt").write_text("mine")
    with pytest.raises(DatasetError, match="exists and is not empty"):
        prepare(tmp_path / "absent", tmp_path / "out")


def needs(name: str) -> pytest.MarkDecorator:
    """Skip without the owners' files: they are theirs to give."""
    return pytest.mark.skipif(
        not (DATA / name).is_dir(),
        reason=f"needs the {name} files of their owners in ../shared/data/{name} "
        "(relative to the repository)",
    )


@needs("coat")
def test_the_real_coat_files(tmp_path: Path) -> None:
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


@needs("tiktok")
def test_the_real_tiktok_file(tmp_path: Path) -> None:
    prepare_tiktok(DATA / "tiktok", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    rows = dataset.impressions
    assert (len(dataset.user_ids), len(dataset.item_ids)) == (9_308, 6_710)
    assert rows.split is not None
    assert np.bincount(rows.split).tolist() == [59_541, 3_051, 6_130]
    assert (dataset.proxies[:, 0] == 0).sum() == 465  # without a training positive
    assert dataset.embedding.shape == (6_710, 256)
    assert dataset.modality_mask.all()

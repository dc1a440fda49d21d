"""Embeddings of a dataset folder: bad vectors and bad ids are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.integration.training.data.small_dataset import IMAGE, assert_refused


def with_nan(row: int, value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    bad = IMAGE.copy()
    bad[row, 1] = value
    return bad


@pytest.mark.parametrize(
    ("values", "column", "row", "problem"),
    [
        (with_nan(1, np.nan), "image", 1, "NaN, infinite or beyond 1e"),
        (with_nan(2, np.inf), "image", 2, "NaN, infinite or beyond 1e"),
        (with_nan(0, -1.1e6), "image", 0, "NaN, infinite or beyond 1e"),
        (IMAGE.astype(np.float64) * 1e300, "image", 0, "NaN, infinite or beyond 1e"),
        (IMAGE[0], None, None, r"must be floats \(items, dim\), not float32 \(2,\)"),
        (IMAGE[:, :0], None, None, r"must be floats \(items, dim\), not float32 \(3, 0\)"),
        (IMAGE.astype(np.int64), None, None, "must be floats .* not int64"),
    ],
    ids=["nan", "inf", "huge", "beyond-float32", "one-dimensional", "no-dimensions", "integers"],
)
def test_bad_vectors_are_refused(
    folder: Path,
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    column: str | None,
    row: int | None,
    problem: str,
) -> None:
    np.save(folder / "embeddings/image.npy", values)
    assert_refused(folder, "embeddings/image.npy", column, row, problem)


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_not_an_array_is_refused(folder: Path, content: bytes) -> None:
    (folder / "embeddings/image.npy").write_bytes(content)
    assert_refused(folder, "embeddings/image.npy", None, None, "is not an array of numbers")


def test_pickled_objects_are_refused_and_never_loaded(folder: Path) -> None:
    np.save(folder / "embeddings/image.npy", np.array([{"a": 1}], object), allow_pickle=True)
    assert_refused(folder, "embeddings/image.npy", None, None, "is not an array of numbers")


def test_an_archive_of_arrays_is_refused(folder: Path) -> None:
    with (folder / "embeddings/image.npy").open("wb") as file:
        np.savez(file, image=IMAGE)
    assert_refused(folder, "embeddings/image.npy", None, None, "is not an array of numbers")


@pytest.mark.parametrize(
    ("text", "column", "row", "problem"),
    [
        ("a\nb\n", None, None, "has 2 ids for 3 vectors"),
        ("a\nb\nz\n", "image", 2, "'z' is not in the table of items"),
        ("a\nb\nb\n", "image", 2, "'b' occurs twice"),
    ],
)
def test_bad_ids_of_vectors_are_refused(
    folder: Path, text: str, column: str | None, row: int | None, problem: str
) -> None:
    (folder / "embeddings/image.ids.txt").write_text(text)
    assert_refused(folder, "embeddings/image.ids.txt", column, row, problem)


def test_ids_of_vectors_that_are_not_text_are_refused(folder: Path) -> None:
    (folder / "embeddings/image.ids.txt").write_bytes(b"a\n\xff\nc\n")
    assert_refused(folder, "embeddings/image.ids.txt", None, None, "is not UTF-8 text")

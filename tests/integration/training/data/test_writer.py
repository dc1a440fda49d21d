"""Writing a dataset folder: all of it appears, or nothing does."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.full_disk import file_size_limit
from tests.integration.training.data.small_dataset import write
from training.data.dataset import open_dataset
from training.data.schema import read_description
from training.data.writer import refuse_existing, write_dataset
from training.errors import DatasetError


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")
    assert open_dataset(tmp_path / "empty").item_ids == ["a", "b", "c"]


def test_missing_parents_are_made(tmp_path: Path) -> None:
    write(tmp_path / "some/where")
    assert read_description(tmp_path / "some/where").user_attributes == ("age", "member")


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious.txt").write_text("mine")
    with pytest.raises(DatasetError, match="exists and is not empty") as caught:
        write(tmp_path / "full")
    assert caught.value.file == tmp_path / "full"
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "precious.txt"]


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatasetError, match="exists and is not empty"):
        write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size_bytes", [100, 2_500], ids=["table", "vectors"])
def test_a_full_disk_is_named_by_its_own_error_and_leaves_nothing(
    tmp_path: Path, size_bytes: int
) -> None:
    """Polars and NumPy hide it in errors of their own."""
    vectors = np.zeros((200, 8), np.float32)
    ids = [f"i{row}" for row in range(len(vectors))]
    with file_size_limit(size_bytes), pytest.raises(OSError, match="File too large") as caught:
        write_dataset(
            tmp_path / "out",
            name="full",
            impressions=pl.DataFrame({"user_id": ["u"]}),
            items=pl.DataFrame({"item_id": ids[:1]}),
            users=pl.DataFrame({"user_id": ["u"]}),
            embeddings={"image": (vectors, ids)},
        )

    assert caught.value.errno == errno.EFBIG
    assert str(caught.value.filename).startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError) as caught:
        refuse_existing(tmp_path / "file" / "out")
    assert caught.value.filename == str(tmp_path / "file")

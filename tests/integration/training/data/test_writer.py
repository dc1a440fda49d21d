"""Writing a dataset folder: all of it appears, or nothing does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.integration.training.data.small_dataset import write
from training.data.dataset import open_dataset
from training.data.schema import read_description
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

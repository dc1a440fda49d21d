from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from service.contract.files import sha256, write_atomically


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "abc"
    file.write_bytes(b"abc")

    # FIPS 180-2, appendix B.1
    assert sha256(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_write_replaces_the_content_and_leaves_no_other_file(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    file.write_bytes(b"the old and longer content")

    write_atomically(file, b"new")

    assert file.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["table.json"]


def test_a_write_that_fails_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> NoReturn:
        raise OSError(28, "No space left on device")

    file = tmp_path / "table.json"
    file.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, b"new")

    assert file.read_bytes() == b"old"


def test_a_failed_write_leaves_no_temporary_and_names_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "table.json", b"new")

    assert caught.value.filename == str(tmp_path / "table.json")
    assert os.listdir(tmp_path) == []


def test_writers_at_once_do_not_share_a_temporary(tmp_path: Path) -> None:
    """As two containers on one volume do, whose processes may have equal numbers."""
    file, contents = tmp_path / "table.json", [bytes([number]) * 100_000 for number in range(8)]
    errors: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(20):
                write_atomically(file, content)
        except BaseException as error:  # to be shown by the test
            errors.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert file.read_bytes() in contents
    assert os.listdir(tmp_path) == ["table.json"]

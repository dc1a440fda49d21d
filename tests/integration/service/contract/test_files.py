from __future__ import annotations

import os
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

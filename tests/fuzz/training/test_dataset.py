"""A damaged ``dataset.toml`` is refused by DatasetError."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.damage import damaged, damaged_bytes
from tests.integration.training.data.small_dataset import write
from training.data.dataset import open_dataset
from training.data.schema import DESCRIPTION
from training.errors import DatasetError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset; each test mends the description that it damages."""
    path = tmp_path_factory.mktemp("small") / "data"
    write(path)
    return path


@given(st.data())
def test_a_damaged_description_is_refused_or_opens(folder: Path, data: st.DataObject) -> None:
    valid = (folder / DESCRIPTION).read_bytes()
    document = tomllib.loads(valid.decode())
    changed = damaged(document).filter(_is_toml).map(lambda table: tomli_w.dumps(table).encode())
    _open(folder, valid, data.draw(changed | damaged_bytes(valid) | st.binary(max_size=99)))


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000, '"\\u0000"', '"' + "x" * 5000 + '"'])
def test_a_value_that_no_reader_likes_is_refused(folder: Path, value: str) -> None:
    valid = (folder / DESCRIPTION).read_text()
    changed = "\n".join(
        f"items = {value}" if line.startswith("items =") else line for line in valid.splitlines()
    )
    assert changed != valid.rstrip("\n")
    _open(folder, valid.encode(), changed.encode())


def _open(folder: Path, valid: bytes, changed: bytes) -> None:
    (folder / DESCRIPTION).write_bytes(changed)
    try:
        open_dataset(folder)
    except DatasetError as error:
        assert str(error)
    finally:
        (folder / DESCRIPTION).write_bytes(valid)


def _is_toml(table: object) -> bool:
    """TOML has no null; its strings have no surrogates."""
    try:
        tomli_w.dumps(table).encode()  # type: ignore[arg-type]  # any JSON value
    except (TypeError, UnicodeEncodeError):
        return False
    return True

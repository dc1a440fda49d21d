"""Text files with a byte-order mark, as Windows programs write them, read as those without."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from tests.integration.training.data.convert.sources import SOURCES
from training.data.convert import CONVERTERS, converter

BINARY = (".npz", ".npy")


@pytest.mark.parametrize("name", sorted(CONVERTERS))
def test_a_source_with_byte_order_marks_gives_the_same_dataset(name: str, tmp_path: Path) -> None:
    source = SOURCES[name]
    marked = {
        file: codecs.BOM_UTF8 + content
        for file, content in source.files.items()
        if not file.endswith(BINARY)
    }

    converter(name)(source.write(tmp_path / "plain"), tmp_path / "expected")
    converter(name)(source.write(tmp_path / "marked", marked), tmp_path / "out")

    expected, out = (
        {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        for folder in (tmp_path / "expected", tmp_path / "out")
    )
    assert out == expected

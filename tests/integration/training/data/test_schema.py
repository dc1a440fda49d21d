"""``dataset.toml``: a bad entry is named."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from tests.integration.training.data.small_dataset import assert_refused
from training.data.dataset import open_dataset


def test_a_folder_without_a_description_is_not_a_dataset(tmp_path: Path) -> None:
    assert_refused(tmp_path, "dataset.toml", None, None, "is missing; is this a dataset folder")


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("name = ", None, "is not TOML"),
        pytest.param("name = " + "[" * 5000, None, "is not TOML: .*nested", id="nested"),
        pytest.param("name = " + "9" * 5000, None, "is not TOML: .*digits", id="digits"),
        ("name = 'Not A Name'", "name", "should match pattern"),
        ("name = 'x'\nitems = \"a\\u0000b\"", "items", "should match pattern"),
        ("name = 'x'\nusers = ''", "users", "should match pattern"),
        ("name = 'x'", "embeddings", "required"),
        ("name = 'x'\n[embeddings]", "embeddings", "at least 1"),
        ("name = 'x'\nclicks = 3\n[embeddings.i]\nvalues='v'\nids='i'", "clicks", "not permitted"),
        ("name = 'x'\n[embeddings.i]\nids='v'", "embeddings.i.values", "required"),
        (
            "name = 'x'\nproxies = [{name = 'p', kind = 'text'}]\n[embeddings.i]\nvalues='v'\n"
            "ids='i'",
            "proxies.0.kind",
            "'numeric' or 'categorical'",
        ),
    ],
)
def test_a_bad_description_names_the_entry(
    tmp_path: Path, text: str, column: str | None, problem: str
) -> None:
    (tmp_path / "dataset.toml").write_text(text)
    assert_refused(tmp_path, "dataset.toml", column, None, problem)


@pytest.mark.parametrize(
    ("modalities", "file", "column", "problem"),
    [
        (64, "dataset.toml", "embeddings", "^has 64 modalities, at most 63 are served; join some$"),
        (63, "users.parquet", None, "is missing"),
    ],
)
def test_as_many_modalities_as_a_mask_has_bits_less_the_learned_one(
    tmp_path: Path, modalities: int, file: str, column: str | None, problem: str
) -> None:
    tables = [f"[embeddings.m{n}]\nvalues='v'\nids='i'\n" for n in range(modalities)]
    (tmp_path / "dataset.toml").write_text("name = 'x'\n" + "".join(tables))

    assert_refused(tmp_path, file, column, None, problem)


def test_a_description_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_bytes(b"name = '\xff\xfe'")
    assert_refused(tmp_path, "dataset.toml", None, None, "is not TOML")


def test_a_byte_order_mark_is_no_part_of_a_text(folder: Path) -> None:
    before = open_dataset(folder)
    for name in ("dataset.toml", "embeddings/image.ids.txt", "embeddings/audio.ids.txt"):
        (folder / name).write_bytes(codecs.BOM_UTF8 + (folder / name).read_bytes())

    dataset = open_dataset(folder)

    assert dataset.description == before.description
    assert dataset.modality_mask.tolist() == before.modality_mask.tolist()

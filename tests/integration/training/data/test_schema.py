"""``dataset.toml``: a bad entry is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.training.data.small_dataset import assert_refused


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
        ("name = 'x'\n[embeddings.i]\nvalues='v'", "embeddings.i.ids", "required"),
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


def test_a_description_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_bytes(b"name = '\xff\xfe'")
    assert_refused(tmp_path, "dataset.toml", None, None, "is not TOML")

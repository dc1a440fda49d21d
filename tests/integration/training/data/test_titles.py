from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from service.contract.titles import ItemTitle
from training.data.schema import Description, Embedding
from training.data.titles import read_titles
from training.errors import DatasetError

DESCRIPTION = Description(
    name="shop", title="name", picture="image", link="url",
    embeddings={"text": Embedding(values="x.parquet")},
)  # fmt: skip


def read(**columns: list[str | None]) -> list[ItemTitle]:
    rows: dict[str, list[str | None]] = {
        "name": ["Coat", None], "image": ["https://x.example/1.jpg", None], "url": ["/1", ""],
    }  # fmt: skip
    table = pl.DataFrame(rows | columns, schema_overrides=dict.fromkeys(rows, pl.String))
    return read_titles(table, Path("items.parquet"), DESCRIPTION, pl.Series(["a", "b"]))


def test_what_is_unknown_is_left_out() -> None:
    assert read() == [ItemTitle("Coat", "https://x.example/1.jpg", "/1"), ItemTitle("b")]


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "//other.example/x", "data:image/png;base64,x", "a b", "http://a b"],
)
@pytest.mark.parametrize("column", ["image", "url"])
def test_an_address_that_a_page_must_not_follow_is_refused(address: str, column: str) -> None:
    columns: dict[str, list[str | None]] = {column: ["/1", address]}
    with pytest.raises(DatasetError, match=r"is no address: write https://") as caught:
        read(**columns)
    assert (caught.value.column, caught.value.row) == (column, 1)


def test_a_title_that_is_too_long_is_refused() -> None:
    with pytest.raises(DatasetError, match="over 500 characters"):
        read(name=["x" * 501, None])

"""What people see of the items: titles, and addresses of pictures and pages."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from service.contract.titles import ADDRESS, MAX_TITLE_CHARS, ItemTitle
from training.data.columns import refuse, texts
from training.data.schema import Description


def read_titles(
    items: pl.DataFrame, path: Path, description: Description, item_ids: pl.Series
) -> list[ItemTitle]:
    """Return the titles of items; an item without one is called by its id.

    Raises DatasetError for a title that is too long, and for an address that is neither http(s) nor
    a path that begins with a slash.
    """
    titles = _column(items, path, description.title)
    long = (titles.str.len_chars() > MAX_TITLE_CHARS).fill_null(False)
    name = description.title or ""
    refuse(long.to_numpy(), path, name, f"a title has over {MAX_TITLE_CHARS} characters")
    pictures = _addresses(items, path, description.picture)
    links = _addresses(items, path, description.link)
    rows = zip(item_ids, titles, pictures, links, strict=True)
    return [
        ItemTitle(title or item_id, picture or None, link or None)
        for item_id, title, picture, link in rows
    ]


def _addresses(items: pl.DataFrame, path: Path, name: str | None) -> pl.Series:
    addresses = _column(items, path, name)
    wrong = [bool(address) and not ADDRESS.fullmatch(address) for address in addresses]
    refuse(
        pl.Series(wrong, dtype=pl.Boolean).to_numpy(),
        path,
        name or "",
        "{value!r} is no address: write https://... or a path that begins with /",
        addresses,
    )
    return addresses


def _column(items: pl.DataFrame, path: Path, name: str | None) -> pl.Series:
    if name is None:
        return pl.Series([None] * len(items), dtype=pl.String)
    return texts(items, path, name)

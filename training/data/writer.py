"""Writing a dataset folder: all of it appears, or nothing does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.files import check_folder, staged_folder, sync
from service.contract.manifest import Proxy
from training.data import parquet
from training.data.schema import DESCRIPTION, Description, Embedding
from training.errors import DatasetError

ROW_GROUP = 2**18

Embeddings = dict[str, tuple[NDArray[np.floating], list[str]]]  # modality -> (n, dim), n item ids


def write_dataset(
    folder: Path,
    *,
    name: str,
    impressions: pl.DataFrame | pl.LazyFrame,
    items: pl.DataFrame,
    users: pl.DataFrame,
    embeddings: Embeddings,
    proxies: tuple[Proxy, ...] = (),
    title: str | None = None,
    user_attributes: tuple[str, ...] = (),
    item_attributes: tuple[str, ...] = (),
    unbiased_kind: str = "uniform exposure",
    extra: dict[str, pl.DataFrame | pl.LazyFrame] | None = None,
    files: dict[str, bytes] | None = None,
) -> None:
    """Write tables, ``embeddings`` and ``dataset.toml`` into ``folder``.

    ``extra`` tables (file stem -> table) and ``files`` (name -> content) go into the folder too but
    are not part of the dataset. A lazy table is streamed: it may be larger than memory. Raises
    DatasetError where ``folder`` exists and is not empty.
    """
    description = Description(
        name=name,
        title=title,
        user_attributes=user_attributes,
        item_attributes=item_attributes,
        unbiased_kind=unbiased_kind,
        proxies=proxies,
        embeddings={
            modality: Embedding(
                values=f"embeddings/{modality}.npy", ids=f"embeddings/{modality}.ids.txt"
            )
            for modality in embeddings
        },
    )
    refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with staged_folder(folder.parent, ".dataset-") as staged:
        staged.chmod(0o755)
        tables = {"impressions": impressions, "items": items, "users": users, **(extra or {})}
        for stem, table in tables.items():
            parquet.write(table, staged / f"{stem}.parquet", _row_group(table))
        for file_name, content in (files or {}).items():
            (staged / file_name).write_bytes(content)
        _write_embeddings(embeddings, staged / "embeddings")
        (staged / DESCRIPTION).write_text(description.to_toml(), encoding="utf-8")
        for path in [*staged.rglob("*"), staged]:
            sync(path)
        if folder.exists():
            folder.rmdir()
        staged.rename(folder)


def refuse_existing(folder: Path) -> None:
    """Raise DatasetError where ``folder`` is a file or is not empty, OSError where it cannot be."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(folder, "exists and is not empty; name another --out or remove it")
    check_folder(folder.parent)


def _write_embeddings(embeddings: Embeddings, folder: Path) -> None:
    folder.mkdir()
    for modality, (values, ids) in embeddings.items():
        with (folder / f"{modality}.npy").open("w+b") as file:  # with "wb" numpy hides a full disk
            np.save(file, values)
        (folder / f"{modality}.ids.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")


def _row_group(table: pl.DataFrame | pl.LazyFrame) -> int | None:
    return ROW_GROUP if isinstance(table, pl.LazyFrame) else None

"""Writing a dataset folder: all of it appears, or nothing does."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.files import sync
from service.contract.manifest import Proxy
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
    staged = Path(tempfile.mkdtemp(prefix=".dataset-", dir=folder.parent))
    try:
        staged.chmod(0o755)
        tables = {"impressions": impressions, "items": items, "users": users, **(extra or {})}
        for stem, table in tables.items():
            _write_table(table, staged / f"{stem}.parquet")
        for file_name, content in (files or {}).items():
            (staged / file_name).write_bytes(content)
        _write_embeddings(embeddings, staged / "embeddings")
        (staged / DESCRIPTION).write_text(description.to_toml(), encoding="utf-8")
        for path in [*staged.rglob("*"), staged]:
            sync(path)
        if folder.exists():
            folder.rmdir()
        staged.rename(folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def refuse_existing(folder: Path) -> None:
    """Raise DatasetError where ``folder`` is a file or is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(folder, "exists and is not empty; name another --out or remove it")


def _write_embeddings(embeddings: Embeddings, folder: Path) -> None:
    folder.mkdir()
    for modality, (values, ids) in embeddings.items():
        np.save(folder / f"{modality}.npy", values)
        (folder / f"{modality}.ids.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")


def _write_table(table: pl.DataFrame | pl.LazyFrame, path: Path) -> None:
    if isinstance(table, pl.LazyFrame):
        # By default the row groups, hence the bytes, depend on the files that the rows come from.
        table.sink_parquet(path, row_group_size=ROW_GROUP, engine="streaming")
    else:
        table.write_parquet(path)

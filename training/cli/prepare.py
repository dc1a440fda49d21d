"""``prepare``: a public dataset as a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import Out
from training.data.convert import CONVERTERS, converter
from training.errors import ConfigError


def prepare(
    dataset: Annotated[str, typer.Argument(help=f"One of: {', '.join(CONVERTERS)}.")],
    source: Annotated[Path, typer.Option(help="Folder with the owners' files.")],
    out: Out,
) -> None:
    """Convert a public dataset from its owners' files to a dataset folder."""
    if dataset not in CONVERTERS:
        raise ConfigError(f"{dataset!r} is not one of {', '.join(CONVERTERS)}")
    if not source.is_dir():
        raise ConfigError(f"--source {source}: is no folder; name the one with the owners' files")
    converter(dataset)(source, out)
    typer.echo(f"wrote {out}")

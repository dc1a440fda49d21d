"""``prepare-log``: a team's own log as a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import Out


def prepare_log(
    config: Annotated[Path, typer.Option(help="prepare.toml: the tables and their columns.")],
    out: Out,
) -> None:
    """Make a dataset folder from your own Parquet tables.

    A log that is too large for one machine: spark-submit training/data/raw_log/on_spark.py
    """
    from training.data.raw_log.on_polars import PolarsEngine
    from training.data.raw_log.prepare import prepare_log as prepare
    from training.data.raw_log.specification import read_specification

    typer.echo(prepare(read_specification(config), str(out), PolarsEngine()))

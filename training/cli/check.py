"""``check``: what a dataset folder was understood to hold."""

from __future__ import annotations

from typing import Annotated

import typer

from training.cli.options import Data, Model, Scratch
from training.config import load_config
from training.data.dataset import open_dataset
from training.data.split import split_rows
from training.data.summary import summarise
from training.evaluation.report.data_table import data_table


def check(
    data: Data,
    model: Model = "cp2rec",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
    scratch: Scratch = None,
) -> None:
    """Open a dataset as train does, and print what it holds and what in it looks suspicious.

    Rows are split by the shares of --model. What train would refuse is refused here.
    """
    config = load_config(model)
    dataset = open_dataset(data, scratch)
    shares = config.split
    split = split_rows(dataset, validation=shares.validation, test=shares.test, seed=config.seed)
    summary = summarise(dataset, split)
    typer.echo(summary.model_dump_json(indent=2) if json else data_table(summary))

"""``check``: what a dataset folder was understood to hold."""

from __future__ import annotations

from typing import Annotated

import typer

from training.cli.options import BUILD, Build, Data, Model, Scratch, Since, Until, with_period


def check(
    data: Data,
    model: Model = "cp2rec",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
    build: Build = BUILD,
    since: Since = None,
    until: Until = None,
    scratch: Scratch = None,
) -> None:
    """Open a dataset as train does, and print what it holds and what in it looks suspicious.

    Rows are split by the shares of --model. What train would refuse is refused here.
    """
    from training.config import load_config
    from training.data.dataset import open_dataset
    from training.data.period import Period
    from training.data.split import split_rows
    from training.data.summary import summarise
    from training.evaluation.report.data_table import data_table

    config = load_config(model, overrides=with_period(None, since, until))
    dataset = open_dataset(data, scratch, period=Period(config.since, config.until), cache=build)
    shares = config.split
    split = split_rows(dataset, validation=shares.validation, test=shares.test, seed=config.seed)
    summary = summarise(dataset, split)
    typer.echo(summary.model_dump_json(indent=2) if json else data_table(summary))

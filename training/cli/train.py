"""``train``: a model in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.contract.files import check_folder
from service.contract.repository import Repository
from training.cli.options import (
    BUILD,
    Build,
    ConfigFile,
    Data,
    Model,
    Models,
    Overrides,
    Scratch,
    open_newest,
)
from training.config import load_config
from training.data.dataset import open_dataset
from training.evaluation.report.tables import front_table
from training.fitting.distributed import is_first, processes
from training.fitting.runs import RunStore
from training.fitting.train_net import train_net
from training.pipeline import train as train_model
from training.release.state import continue_from


def train(
    model: Model,
    data: Data,
    models: Models = Path("models"),
    name: Annotated[
        str | None, typer.Option(help="Name in the repository; default: --model.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: the configuration's.")] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    build: Build = BUILD,
    scratch: Scratch = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", help="name, name@version or name@alias of --models to continue from."
        ),
    ] = None,
) -> None:
    """Train a model, measure its front, and add it to the model repository.

    Run the same command again to resume an interrupted training. Under torchrun several processes
    share every batch: torchrun --nproc-per-node 2 -m training train ... With --from, known users
    and items keep what a former training learned, and a short training goes on from there.
    """
    seeded = () if seed is None else (f"seed={seed}",)
    resolved = load_config(model, config, (*(overrides or ()), *seeded))
    name = name or model
    Repository(models).check_name(name)
    for folder in (models / name, build):
        check_folder(folder)  # before the training, not after it
    runs, continuation = RunStore(build), None
    if start is not None:
        continuation = continue_from(open_newest(Repository(models), start), resolved)
        resolved = continuation.config
    with processes():
        dataset = open_dataset(data, scratch, *(continuation.codings if continuation else ()))
        if continuation is not None:
            continuation.check(dataset)
        if not is_first():  # its share of the batches, no more
            train_net(dataset, resolved, runs, start=continuation.start if continuation else None)
            return
        artifact, fitted = train_model(
            dataset, resolved, Repository(models), name, runs, continuation
        )
    typer.echo(front_table(artifact.manifest.front))
    typer.echo(f"best of {fitted.fit.evaluations} evaluations on validation: {fitted.fit.best:.4f}")
    typer.echo(f"calibrated score: {artifact.manifest.calibration.meaning}")
    typer.echo(
        f"added {artifact.label} in {artifact.path}; requests that name no tradeoff are ranked at "
        f"w = {artifact.manifest.default_tradeoff:g}"
    )

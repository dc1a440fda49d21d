"""``train``: a model in the repository."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.cli.options import (
    BUILD,
    Build,
    ConfigFile,
    Data,
    Device,
    Model,
    Models,
    Overrides,
    Scratch,
    Since,
    Until,
    open_newest,
    with_period,
)
from training.errors import ConfigError

if TYPE_CHECKING:
    from training.config import Config, Tuning

log = logging.getLogger(__name__)


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
    since: Since = None,
    until: Until = None,
    device: Device = "auto",
    scratch: Scratch = None,
    tune: Annotated[
        int | None,
        typer.Option(
            min=2, help="Trainings to choose options by, on validation rows; the first is untuned."
        ),
    ] = None,
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
    from service.contract.files import check_folder
    from service.contract.repository import Repository
    from training.config import load_config, stated_keys
    from training.data.dataset import open_dataset
    from training.data.period import Period
    from training.evaluation.report.origin import origin
    from training.evaluation.report.tables import front_table
    from training.fitting.device import limit_threads, on_device
    from training.fitting.distributed import is_first, processes
    from training.fitting.runs import RunStore
    from training.fitting.train_net import train_net
    from training.fitting.tuning import search_space
    from training.fitting.tuning import tune as tune_options
    from training.pipeline import train as train_model
    from training.release.export import PAGE
    from training.release.state import continue_from

    limit_threads()
    seeded = () if seed is None else (f"seed={seed}",)
    stated = (*with_period(overrides, since, until), *seeded)
    resolved = untuned = load_config(model, config, stated)
    space = search_space(resolved, stated_keys(config, stated)) if tune else {}
    name = name or model
    Repository(models).check_name(name)
    for folder in (models / name, build):
        check_folder(folder)  # before the training, not after it
    runs, continuation = RunStore(build), None
    if start is not None:
        if tune:
            raise ConfigError(
                "--tune: an artifact's options are settled; leave --from or --tune out"
            )
        continuation = continue_from(open_newest(Repository(models), start), resolved)
        resolved = continuation.config
    with on_device(device) as place, processes():
        dataset = open_dataset(
            data,
            scratch,
            *(continuation.codings if continuation else ()),
            period=Period(resolved.since, resolved.until),
            cache=build,
        )
        if continuation is not None:
            continuation.check(dataset)
        if not is_first():  # its share of the batches, no more
            train_net(dataset, resolved, runs, start=continuation.start if continuation else None)
            return
        log.info("training on %s", place)
        if tune:
            resolved = tune_options(dataset, resolved, space, tune, runs)
        artifact, fitted = train_model(
            dataset, resolved, Repository(models), name, runs, continuation, origin(resolved)
        )
    typer.echo(front_table(artifact.manifest.front))
    if resolved.tuning:
        typer.echo(_chosen(resolved, untuned, resolved.tuning))
    typer.echo(f"best of {fitted.fit.evaluations} evaluations on validation: {fitted.fit.best:.4f}")
    typer.echo(f"calibrated score: {artifact.manifest.calibration.meaning}")
    typer.echo(f"report: {artifact.path / PAGE}")
    typer.echo(
        f"added {artifact.label} in {artifact.path}; requests that name no tradeoff are ranked at "
        f"w = {artifact.manifest.default_tradeoff:g}"
    )


def _chosen(config: Config, untuned: Config, tuning: Tuning) -> str:
    """Return the line on a search: its gain, and the options that repeat its choice."""
    from training.config import value_of

    values = {key: (value_of(config, key), value_of(untuned, key)) for key in tuning.searched}
    options = [f"--set {key}={new}" for key, (new, old) in values.items() if new != old]
    return (
        f"best of {tuning.trials} trials on validation: {tuning.best:.4f}, untuned "
        f"{tuning.untuned:.4f} ({tuning.best - tuning.untuned:+.4f}); {' '.join(options)}"
    )

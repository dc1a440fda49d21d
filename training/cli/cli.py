"""The command line: ``python -m training COMMAND``."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from service.contract.artifact import ArtifactError, open_artifact
from service.contract.files import write_atomically
from service.contract.repository import CHAMPION, Repository
from training.config import MODELS, Config, load_config
from training.data.convert import CONVERTERS
from training.data.dataset import Dataset, open_dataset
from training.data.simulate.simulate import simulate as simulate_dataset
from training.data.split import positives_only
from training.demo.demo import run_demo
from training.errors import ConfigError, TrainingError
from training.evaluation.baselines.ablations import ABLATIONS, measure_ablation
from training.evaluation.baselines.full_ranking import RANKING_BASELINES, measure_ranking_baseline
from training.evaluation.baselines.reranking import BASELINES, baseline_names, measure_baseline
from training.evaluation.mask import masked, measure_mask
from training.evaluation.probes import measure_probes, unpurified
from training.evaluation.report.plots import plot_curves, plot_front
from training.evaluation.report.schema import Curve, RankingReport, Report
from training.evaluation.report.tables import (
    baseline_table,
    cold_table,
    front_table,
    mask_table,
    probe_table,
    ranking_table,
)
from training.evaluation.segments import hidden_users, measure_cold
from training.fitting.distributed import is_first, launched, processes
from training.fitting.train_net import train_net
from training.pipeline import evaluate as evaluate_front
from training.pipeline import train as train_model
from training.release.publish import BATCH
from training.release.publish import publish as publish_records

REDIS_URL = "redis://127.0.0.1:6379/0"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Prepare data, train, export, publish.",
)

Data = Annotated[Path, typer.Option("--data", help="Dataset folder.")]
Out = Annotated[Path, typer.Option("--out", help="Dataset folder to write; must not exist.")]
Models = Annotated[Path, typer.Option("--models", help="Model repository.")]
Build = Annotated[Path, typer.Option("--build", help="Where checkpoints lie.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML over the packaged one.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")
]
RedisUrl = Annotated[
    str, typer.Option("--redis", envvar="RANK_REDIS_URL", help="URL of the store.")
]
Namespace = Annotated[str, typer.Option(envvar="RANK_NAMESPACE", help="Prefix of every key.")]
Scratch = Annotated[
    Path | None,
    typer.Option(help="Folder on disk for impressions, where they may exceed memory."),
]
_BASELINES_HELP = (
    f"all, none, or some of: {','.join(BASELINES)}; "
    f"where data hold clicks alone: {','.join((*RANKING_BASELINES, *ABLATIONS))}."
)
Model = Annotated[str, typer.Option("--model", help=f"One of: {', '.join(MODELS)}.")]


@app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help=f"One of: {', '.join(sorted(CONVERTERS))}.")],
    source: Annotated[Path, typer.Option(help="Folder with the owners' files.")],
    out: Out,
) -> None:
    """Convert a public dataset from its owners' files to a dataset folder."""
    if dataset not in CONVERTERS:
        raise ConfigError(f"{dataset!r} is not one of {', '.join(sorted(CONVERTERS))}")
    CONVERTERS[dataset](source, out)
    typer.echo(f"wrote {out}")


@app.command()
def simulate(
    out: Out,
    source: Annotated[
        Path | None, typer.Option(help="TikTok folder, for real content; else a small made world.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every draw.")] = 0,
    impressions: Annotated[
        int | None, typer.Option(min=1, help="Logged impressions to aim at.")
    ] = None,
    policy_weight: Annotated[
        float, typer.Option(min=0, help="How much the logging policy knows of the truth.")
    ] = 0.8,
    taste_dim: Annotated[
        int | None, typer.Option(help="Dimensions of the real users' tastes; 32 unless told.")
    ] = None,
) -> None:
    """Simulate biased logs with known truth and a uniformly exposed test."""
    simulate_dataset(
        out,
        source=source,
        seed=seed,
        impressions=impressions,
        policy_weight=policy_weight,
        taste_dim=taste_dim,
    )
    typer.echo(f"wrote {out}")


@app.command()
def train(
    model: Model,
    data: Data,
    models: Models = Path("models"),
    name: Annotated[str | None, typer.Option(help="Name to serve it by; default: --model.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: the configuration's.")] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    build: Build = Path("build/training"),
    scratch: Scratch = None,
) -> None:
    """Train a model, measure its front, and add it to the model repository.

    An interrupted training goes on where it stopped when the same command is run again. Under
    torchrun several processes share every batch: torchrun --nproc-per-node 2 -m training train ...
    """
    seeded = () if seed is None else (f"seed={seed}",)
    resolved = load_config(model, config, (*(overrides or ()), *seeded))
    name = name or model
    Repository(models).check_name(name)
    with processes():
        dataset = open_dataset(data, scratch)
        if not is_first():
            train_net(dataset, resolved, build)  # its share of the batches; the first does the rest
            return
        artifact, trained = train_model(dataset, resolved, Repository(models), name, build)
    fitted = trained.fit
    typer.echo(front_table(artifact.manifest.front))
    typer.echo(f"best of {fitted.evaluations} evaluations on validation: {fitted.best:.4f}")
    typer.echo(f"added {artifact.label} in {artifact.path}")


@app.command()
def evaluate(
    name: Annotated[str, typer.Argument(help="Name of the report.")],
    data: Data,
    model: Model = "cp2rec",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings to measure over.")] = 5,
    baselines: Annotated[str, typer.Option(help=_BASELINES_HELP)] = "none",
    probes: Annotated[
        bool, typer.Option("--probes", help="Probe what purification leaves of the proxies.")
    ] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="Score items and users without a past apart.")
    ] = False,
    cold_users: Annotated[
        float, typer.Option(min=0, max=0.5, help="With --cold: share of users to hide.")
    ] = 0.1,
    mask: Annotated[
        bool, typer.Option("--mask", help="Tell what PaInvRL's invariant mask does.")
    ] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    build: Build = Path("build/training"),
    results: Annotated[Path, typer.Option(help="Where reports go.")] = Path("results"),
    scratch: Scratch = None,
) -> None:
    """Measure the front, and baselines, over several seeds; what was done is not done again.

    --probes trains a twin without purification, and --cold one without some users, per seed.
    """
    if launched():
        raise ConfigError("torchrun is for train; evaluate trains its seeds in one process")
    resolved = load_config(model, config, tuple(overrides or ()))
    if mask:
        masked(resolved)
    dataset = open_dataset(data, scratch)
    folder = results / dataset.description.name
    if positives_only(dataset):
        if probes or cold:
            raise ConfigError(f"--probes and --cold: {data} holds clicks alone, which have no AUC")
        _evaluate_ranking(folder / name, dataset, resolved, seeds, baselines, mask, build)
        return
    names = baseline_names(baselines, BASELINES)
    if probes:
        unpurified(resolved)  # refused before anything is trained
    if cold:
        hidden_users(dataset, cold_users)
    front = evaluate_front(dataset, resolved, seeds, build)
    curves: dict[str, Curve] = {}
    for baseline in names:
        logging.info("baseline %s", baseline)
        curves[baseline] = measure_baseline(baseline, dataset, resolved, seeds, build)
    purification = measure_probes(dataset, resolved, seeds, build) if probes else ()
    parts = measure_cold(dataset, resolved, seeds, build, cold_users) if cold else ()
    told = measure_mask(dataset, resolved, seeds, build) if mask else None
    report = Report(
        **front.model_dump(),
        baselines=curves,
        purification=purification,
        cold=parts,
        mask=told,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.json", report.model_dump_json(indent=2).encode())
    plot_front([front], folder / f"{name}.png", title=f"{name} on {front.dataset}", curves=curves)
    typer.echo(front_table(front))
    if curves:
        typer.echo("\n" + baseline_table(front, curves))
    if purification:
        typer.echo("\n" + probe_table(purification))
    if parts:
        typer.echo("\n" + cold_table(parts))
    if told:
        typer.echo("\n" + mask_table(told))
    typer.echo(f"wrote {folder / name}.json and .png")


@app.command()
def publish(
    reference: Annotated[str, typer.Argument(help="name, name@version or name@alias.")],
    data: Data,
    models: Models = Path("models"),
    redis: RedisUrl = REDIS_URL,
    namespace: Namespace = "rank",
    alias: Annotated[str, typer.Option(help="Alias to move once all records are in.")] = CHAMPION,
    promote: Annotated[bool, typer.Option(help="Move the alias; --no-promote leaves it.")] = True,
    fresh: Annotated[bool, typer.Option(help="Write everything again.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="Records at a time.")] = BATCH,
    scratch: Scratch = None,
) -> None:
    """Write a model's records to Redis, then move its alias, so that services pick it up.

    The catalogue becomes the items of --data; others leave it. A bare name is its newest version.
    Run it again after an interruption; it goes on.
    """
    repository = Repository(models)
    name = reference.partition("@")[0]
    repository.check_alias(name, alias)
    if "@" not in reference and (versions := repository.versions(name)):
        reference = f"{name}@{versions[-1]}"
    artifact = open_artifact(repository.resolve(reference))
    dataset = open_dataset(data, scratch)
    done = publish_records(
        artifact, dataset, url=redis, namespace=namespace, batch=batch, fresh=fresh
    )
    typer.echo(
        f"{artifact.label}: {done.items} items and {done.users} users in Redis, "
        f"{done.written} records written and {done.removed} items removed now"
    )
    if promote:
        _promote(repository, name, artifact.version, alias)


@app.command()
def promote(
    reference: Annotated[str, typer.Argument(help="name@version, or name@alias to copy one.")],
    models: Models = Path("models"),
    alias: Annotated[str, typer.Option(help="Alias to move.")] = CHAMPION,
) -> None:
    """Point an alias at a version; running services follow, and roll back the same way."""
    repository = Repository(models)
    if "@" not in reference:
        raise ConfigError(f"{reference!r}: say which version, as in {reference}@1")
    path = repository.resolve(reference)
    _promote(repository, path.parent.name, int(path.name), alias)


@app.command()
def demo(
    build: Annotated[Path, typer.Option(help="Where the demo lives.")] = Path("build/demo"),
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; default: the first free from 8000.")
    ] = None,
    once: Annotated[bool, typer.Option(help="Exit after the rankings.")] = False,
) -> None:
    """Simulate, train, publish, serve, and rank one user at three tradeoffs."""
    run_demo(build, port=port, once=once)


def main() -> None:
    """Run a command; exits with 0 when done, 2 where something is to mend, 1 if interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # the nets are small: more threads mostly wait for each other
    try:
        app()
    except (TrainingError, ArtifactError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


def _evaluate_ranking(
    path: Path,
    dataset: Dataset,
    config: Config,
    seeds: int,
    baselines: str,
    mask: bool,
    build: Path,
) -> None:
    """Measure the front, of a model that learns from clicks alone, and baselines beside it.

    ``path`` lacks its suffix.
    """
    learns = config.net.clicks_suffice
    ablations = ABLATIONS if learns else {}
    names = baseline_names(baselines, (*RANKING_BASELINES, *ablations))
    front = evaluate_front(dataset, config, seeds, build) if learns else None
    curves: dict[str, Curve] = {}
    for name in names:
        logging.info("baseline %s", name)
        measure = measure_ablation if name in ablations else measure_ranking_baseline
        curves[name] = measure(name, dataset, config, seeds, build)
    title = f"{path.name} on {dataset.description.name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if front is not None:
        told = measure_mask(dataset, config, seeds, build) if mask else None
        report: Report | RankingReport = Report(**front.model_dump(), baselines=curves, mask=told)
        plot_front([front], path.with_suffix(".png"), title=title, curves=curves)
        typer.echo(front_table(front))
        if told:
            typer.echo("\n" + mask_table(told) + "\n")
    elif curves:
        seeds_done = tuple(range(config.seed, config.seed + seeds))
        report = RankingReport(dataset=dataset.description.name, seeds=seeds_done, baselines=curves)
        plot_curves(curves, path.with_suffix(".png"), title=title)
    else:
        raise ConfigError(f"{dataset.path} holds clicks alone: say what to rank by, --baselines")
    write_atomically(path.with_suffix(".json"), report.model_dump_json(indent=2).encode())
    if curves:
        typer.echo(ranking_table(curves))
    typer.echo(f"wrote {path}.json and .png")


def _promote(repository: Repository, name: str, version: int, alias: str) -> None:
    previous = repository.promote(name, version, alias)
    before = "" if previous is None else f" (was {name}@{previous})"
    typer.echo(f"{name}@{alias} is now {name}@{version}{before}")

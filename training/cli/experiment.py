"""``experiment``: start, stop and show one, and report what its arms came to."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.cli.options import Models
from training.errors import ConfigError

if TYPE_CHECKING:
    from service.contract.experiments import Experiment
    from service.contract.repository import Repository

experiment = typer.Typer(
    no_args_is_help=True, help="Rank users in arms, each with a model and a tradeoff of its own."
)


@experiment.command()
def start(
    file: Annotated[Path, typer.Argument(help="TOML with the name and the arms.")],
    models: Models = Path("models"),
) -> None:
    """Let an experiment run from now on; services follow within seconds.

    If it runs already, its shares change: by one factor for all arms, so that users stay.
    """
    from service.contract.experiments import Plan, start_experiment
    from service.contract.repository import Repository
    from training.toml import read_document

    plan = read_document(file, Plan, of="the plan", root="the experiment")
    repository = Repository(models)
    for arm in plan.arms:
        if arm.model is not None:
            _check_alias(repository, arm.name, arm.model)
    is_new = start_experiment(repository.root, plan)
    shares = ", ".join(f"{arm.name} {arm.share:.1%}" for arm in plan.arms)
    typer.echo(f"{plan.name} {'runs' if is_new else 'goes on'}: {shares} of the users")


@experiment.command()
def stop(models: Models = Path("models")) -> None:
    """End the experiment that runs: all users are ranked as without it."""
    from service.contract.experiments import stop_experiment

    ended = stop_experiment(models)
    typer.echo(f"{ended.name} has stopped; `experiment report {ended.name}` says what it came to")


@experiment.command()
def show(models: Models = Path("models")) -> None:
    """List all experiments and the arms of the one that runs."""
    from service.contract.experiments import read_experiments

    experiments = read_experiments(models)
    if not experiments.experiments:
        typer.echo("no experiment has run")
    for each in experiments.experiments:
        stopped = "runs" if each.stopped is None else f"stopped {each.stopped:%Y-%m-%d %H:%M} UTC"
        typer.echo(f"{each.name}: started {each.started:%Y-%m-%d %H:%M} UTC, {stopped}")
        for arm in each.arms if each.stopped is None else ():
            sets = arm.model_dump(exclude={"name", "share"}, exclude_defaults=True)
            what = ", ".join(f"{key} {value}" for key, value in sets.items()) or "as without it"
            typer.echo(f"  {arm.name}: {arm.share:.1%} of the users, {what}")


@experiment.command()
def report(
    logs: Annotated[Path, typer.Option(help="The folder that `collect` writes.")],
    name: Annotated[
        str | None, typer.Argument(help="The experiment; without it, the last one.")
    ] = None,
    models: Models = Path("models"),
    metric: Annotated[
        str,
        typer.Option(
            help="clicks, value, a kind of events such as like, or its values: like:value."
        ),
    ] = "clicks",
    window: Annotated[
        str, typer.Option(help="Time from a user's first ranking on that counts, such as 1d.")
    ] = "1d",
    control: Annotated[
        str | None, typer.Option(help="Arm to compare with; without it, the first one.")
    ] = None,
    feed: Annotated[
        Path | None, typer.Option(help="feed.toml, which says what a click is.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Report as of this time, an ISO date or time.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("results/experiments"),
) -> None:
    """Compare the arms, with intervals that hold on every day that they are looked at.

    A user is one observation: all that it did in the time of --window.
    """
    from service.contract.experiments import read_experiments
    from service.contract.files import check_folder
    from service.contract.repository import Repository
    from training.evaluation.experiment.analysis import analyse
    from training.evaluation.experiment.table import report_text
    from training.evaluation.experiment.write import write_experiment
    from training.feed.experiment_log import read_experiment
    from training.feed.log_rows import parse_time
    from training.feed.rankings import parse_metric
    from training.feed.specification import Feed, parse_duration, read_feed

    chosen = _chosen(read_experiments(models).experiments, name, models)
    arms = [arm.name for arm in chosen.arms]
    if control is not None and control not in arms:
        raise ConfigError(f"--control {control!r}: the arms are {', '.join(arms)}")
    described = Feed() if feed is None else read_feed(feed)
    number = 0 if control is None else arms.index(control)
    head, warnings = _head(Repository(models), chosen.arms[number].model)
    window_ms = parse_duration("--window", window)
    check_folder(out)
    log = read_experiment(
        described,
        logs,
        chosen,
        parse_metric(metric, described),
        window_ms,
        until_ms=parse_time("--until", until),
        head=head,
    )
    if log.misplaced:
        warnings.append(
            f"{log.misplaced:,} of {log.rankings:,} rankings name another arm than their user's "
            "hash does: the salt or the arms changed"
        )
    found = analyse(
        log.users,
        chosen,
        metric=metric,
        control=number,
        window_ms=window_ms,
        until_ms=log.until_ms,
        warnings=warnings,
        command=shlex.join(["python", "-m", "training", *sys.argv[1:]]),
    )
    place = write_experiment(found, out)
    typer.echo(report_text(found))
    typer.echo(f"\nwrote {place}.json, .html and .png")


def _chosen(experiments: tuple[Experiment, ...], name: str | None, models: Path) -> Experiment:
    by_name = {each.name: each for each in experiments}
    if not by_name:
        raise ConfigError(f"{models}: no experiment has run; start one with `experiment start`")
    if name is None:
        return experiments[-1]
    if name not in by_name:
        raise ConfigError(f"{name!r} is no experiment; there are {', '.join(by_name)}")
    return by_name[name]


def _check_alias(repository: Repository, arm: str, reference: str) -> None:
    """Raise ConfigError or ArtifactError unless services load a reference."""
    from service.contract import CHAMPION

    name, _, suffix = reference.partition("@")
    path = repository.resolve(f"{name}@{suffix or CHAMPION}")
    if int(path.name) not in repository.aliases(name).values():
        raise ConfigError(
            f"arm {arm}: no alias names {reference}, so no service loads it; give it one with "
            f"`promote {reference} --alias NAME`"
        )


def _head(repository: Repository, reference: str | None) -> tuple[set[str] | None, list[str]]:
    """Return the items that are not of the tail by the training clicks of the control's model.

    None where that is not known, with a sentence that says why.
    """
    from service.contract.artifact import ArtifactError, open_artifact
    from service.contract.measures import in_tail

    try:
        names = repository.names()
        reference = reference or repository.default() or (names[0] if len(names) == 1 else None)
        if reference is None:
            return None, ["the tail is not known: no model is the default"]
        bias = open_artifact(repository.resolve(reference)).bias_reference()
    except ArtifactError as error:
        return None, [f"the tail is not known: {error}"]
    if bias is None:
        return None, [f"the tail is not known: {reference} has no bias reference"]
    tail = in_tail(bias.click_percentile)
    return {item_id for item_id, rare in zip(bias.item_ids, tail, strict=True) if not rare}, []

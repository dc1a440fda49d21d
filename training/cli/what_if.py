"""``what-if``: what other tradeoffs and models would have come to, from the log of a feed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.cli.options import Models, open_newest
from training.errors import ConfigError

if TYPE_CHECKING:
    from service.contract.artifact import Artifact
    from training.feed.what_if import Policy


def what_if(
    logs: Annotated[Path, typer.Option(help="The folder that `collect` writes.")],
    model: Annotated[
        str, typer.Option(help="Model that served: name, name@version or name@alias.")
    ],
    models: Models = Path("models"),
    data: Annotated[
        Path | None,
        typer.Option(
            help="Dataset folder of its items: to rank them again, for --policy and for the doubly "
            "robust estimator."
        ),
    ] = None,
    policies: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            help="Another model or tradeoff, ranked again, from uniform slots: MODEL:TRADEOFF, "
            "such as other@3:0.5; may be repeated.",
        ),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            help="clicks, value, a kind of events such as like, or its values: like:value."
        ),
    ] = "clicks",
    feed: Annotated[
        Path | None, typer.Option(help="feed.toml, which says what a click is.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Decisions from this time on, an ISO date or time.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="Decisions before this time; without it, those whose window of labels ended."
        ),
    ] = None,
    at_most: Annotated[
        str | None, typer.Option(help="Largest cost of the recommended tradeoff: '2% clicks'.")
    ] = None,
    maximise: Annotated[
        str | None, typer.Option(help="What to recommend a tradeoff for: tail_share, or --metric.")
    ] = None,
    against: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Tradeoff to compare with; without it, the model's default."
        ),
    ] = None,
    places: Annotated[
        int | None, typer.Option(min=1, help="First places to count; without it, all of the log.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the result.")] = Path("results/what-if"),
) -> None:
    """Estimate what every tradeoff would have come to, from the log of a feed that explored.

    With --at-most or --maximise, recommend a tradeoff and say whether the log suffices to.
    """
    from training.evaluation.off_policy.advice import parse_wish
    from training.evaluation.off_policy.table import what_if_text
    from training.evaluation.off_policy.write import check_what_if, write_what_if
    from training.feed.log_rows import parse_time
    from training.feed.rankings import parse_metric
    from training.feed.specification import Feed, read_feed
    from training.feed.what_if import Question, answer

    period = parse_time("--since", since), parse_time("--until", until)
    described = Feed() if feed is None else read_feed(feed)
    artifact = _artifact(models, model)
    question = Question(
        artifact=artifact,
        served=artifact.label if "@" in model else artifact.manifest.name,
        outcome=parse_metric(metric, described),
        wish=parse_wish(at_most, maximise, metric),
        against=against,
        places=places,
        data=data,
        policies=tuple(_policy(models, text) for text in policies or ()),
    )
    check_what_if(out)
    command = shlex.join(["python", "-m", "training", *sys.argv[1:]])
    result = answer(question, described, logs, period, command)
    path = write_what_if(result, out)
    typer.echo(what_if_text(result))
    typer.echo(f"wrote {path}.json, .html and .png")


def _artifact(models: Path, reference: str) -> Artifact:
    from service.contract.repository import Repository

    return open_newest(Repository(models), reference)


def _policy(models: Path, text: str) -> Policy:
    """Return the policy that ``--policy`` names; raises ConfigError."""
    from training.feed.what_if import Policy

    reference, _, number = text.partition(":")
    artifact = _artifact(models, reference)
    try:
        tradeoff = float(number) if number else artifact.manifest.default_tradeoff
    except ValueError:
        tradeoff = -1.0
    if not 0 <= tradeoff <= 1:
        raise ConfigError(f"--policy {text!r}: is not MODEL:TRADEOFF, such as cp2rec@3:0.25")
    return Policy(artifact, tradeoff)

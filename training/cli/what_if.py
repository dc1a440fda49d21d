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
    import polars as pl

    from service.contract.artifact import Artifact


def what_if(
    logs: Annotated[Path, typer.Option(help="The folder that `collect` writes.")],
    model: Annotated[
        str, typer.Option(help="Model that served: name, name@version or name@alias.")
    ],
    models: Models = Path("models"),
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset folder of its items: adds the doubly robust estimator."),
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
    from training.evaluation.off_policy.schema import WhatIf
    from training.evaluation.off_policy.table import what_if_text
    from training.evaluation.off_policy.what_if import from_randomised
    from training.evaluation.off_policy.write import check_what_if, write_what_if
    from training.feed.log_rows import parse_time
    from training.feed.rankings import parse_metric, read_rankings
    from training.feed.specification import Feed, read_feed

    period = parse_time("--since", since), parse_time("--until", until)
    described = Feed() if feed is None else read_feed(feed)
    outcome = parse_metric(metric, described)
    wish = parse_wish(at_most, maximise, metric)
    artifact = _artifact(models, model)
    check_what_if(out)
    served = artifact.label if "@" in model else artifact.manifest.name
    rankings = read_rankings(described, logs, outcome, served, period)
    scores = None
    if data is not None:
        from service.contract.attributes import item_codings
        from training.data.items import open_items
        from training.release.ranking_again import RankingAgain

        scores = RankingAgain(artifact, open_items(data, item_codings(artifact))).best_scores

    found = from_randomised(
        rankings.rows,
        _tail(artifact, rankings.rows),
        model=served,
        metric=metric,
        default=artifact.manifest.default_tradeoff,
        against=against,
        places=places,
        wish=wish,
        scores=scores,
    )
    if found is None:
        raise ConfigError(
            f"{logs}: no tradeoff was drawn for {served}: serve with "
            "RANK_EXPLORE_TRADEOFF_SHARE above 0"
        )
    result = WhatIf(
        model=served,
        metric=metric,
        read=rankings.read,
        left_out=dict(rankings.left_out),
        against=found.against,
        randomised=found.source,
        slots=None,
        policies=found.policies,
        order=found.order,
        advice=found.advice,
        notes=found.notes,
        command=shlex.join(["python", "-m", "training", *sys.argv[1:]]),
    )
    path = write_what_if(result, out)
    typer.echo(what_if_text(result))
    typer.echo(f"wrote {path}.json, .html and .png")


def _artifact(models: Path, reference: str) -> Artifact:
    from service.contract.repository import Repository

    return open_newest(Repository(models), reference)


def _tail(artifact: Artifact, rows: pl.DataFrame) -> pl.DataFrame:
    """Return which items are of the long tail, by the training clicks of the model.

    Without its bias reference, by the outcomes of the log.
    """
    import polars as pl

    from service.contract.measures import in_tail
    from training.metrics.exposure import percentile_rank

    if (reference := artifact.bias_reference()) is not None:
        flags = in_tail(reference.click_percentile)
        return pl.DataFrame({"item_id": reference.item_ids, "tail": flags})
    counts = (
        rows.select("item_ids", "outcomes")
        .explode("item_ids", "outcomes", empty_as_null=False)
        .group_by(item_id="item_ids")
        .agg(pl.col("outcomes").sum())
    )
    flags = in_tail(percentile_rank(counts["outcomes"].to_numpy()))
    return counts.select("item_id", tail=pl.Series(flags))

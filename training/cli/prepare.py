"""``prepare``: a public dataset, or the log of the service, as a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import Out
from training.data.convert import CONVERTERS, converter
from training.errors import ConfigError

FEED = "feed"


def prepare(
    dataset: Annotated[
        str, typer.Argument(help=f"One of: {', '.join(sorted({*CONVERTERS, FEED}))}.")
    ],
    out: Out,
    source: Annotated[
        Path | None, typer.Option(help="Folder with the owners' files; not for feed.")
    ] = None,
    logs: Annotated[
        Path | None, typer.Option(help="feed: the folder that `collect` writes.")
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(help="feed: a dataset folder, or a Parquet file, with items and embeddings."),
    ] = None,
    feed: Annotated[
        Path | None, typer.Option(help="feed: feed.toml, with labels and proxies.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="feed: decisions from this time on, an ISO date or time.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="feed: decisions before this time; without it, those whose window of labels ended."
        ),
    ] = None,
) -> None:
    """Convert a public dataset, or the log of your own feed, to a dataset folder.

    `prepare feed` joins decisions with events and counts the proxies of feed.toml as of each row.
    """
    of_feed = {"--logs": logs, "--items": items, "--feed": feed, "--since": since, "--until": until}
    if dataset == FEED:
        from training.feed.log_rows import parse_time
        from training.feed.prepare import prepare_feed
        from training.feed.specification import Feed, read_feed

        if source is not None or logs is None or items is None:
            raise ConfigError("prepare feed: give --logs and --items, and no --source")
        period = parse_time("--since", since), parse_time("--until", until)
        described = Feed() if feed is None else read_feed(feed)
        prepared = prepare_feed(described, logs, items, out, period)
        typer.echo(f"wrote {out}: {prepared}")
        return
    if dataset not in CONVERTERS:
        raise ConfigError(f"{dataset!r} is not one of {', '.join(sorted({*CONVERTERS, FEED}))}")
    if named := [option for option, value in of_feed.items() if value is not None]:
        raise ConfigError(f"{', '.join(named)}: only for `prepare feed`; leave it out")
    if source is None:
        raise ConfigError(f"prepare {dataset}: give --source, the folder with the owners' files")
    if not source.is_dir():
        raise ConfigError(f"--source {source}: is no folder; name the one with the owners' files")
    converter(dataset)(source, out)
    typer.echo(f"wrote {out}")

"""``prune``: what no alias needs leaves Redis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.cli.options import REDIS_URL, Models, Namespace, RedisUrl

if TYPE_CHECKING:
    from training.release.prune import Unneeded


def prune(
    models: Models = Path("models"),
    redis: RedisUrl = REDIS_URL,
    namespace: Namespace = "rank",
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove it; without it, only list it.")
    ] = False,
) -> None:
    """Remove from Redis what no alias of --models needs: old versions, records of removed items.

    Without --yes it only lists what would go. It touches no other namespace, and leaves alone what
    another program is publishing. An interrupted call can be repeated.
    """
    from service.contract.repository import Repository
    from training.release.prune import find_unneeded, remove_unneeded

    repository = Repository(models)
    unneeded = find_unneeded(redis, namespace, repository)
    for entry in unneeded:
        held = f"; left alone: {entry.holder} is changing it" if entry.holder else ""
        typer.echo(f"{entry.space}: {_size([entry])}: {entry.reason}{held}")
    free = [entry for entry in unneeded if not entry.holder]
    if not yes:
        typer.echo(f"{_size(free)} would go, nothing was removed; to remove it, add --yes")
        return
    removed = remove_unneeded(redis, namespace, repository, {entry.space for entry in free})
    for sentence in removed.skipped:
        typer.echo(f"left alone: {sentence}")
    typer.echo(f"{removed.keys} keys removed")


def _size(entries: Sequence[Unneeded]) -> str:
    keys = sum(entry.keys for entry in entries)
    size_mb = sum(entry.size_bytes for entry in entries) / 1e6
    return f"{keys} keys, {size_mb:.1f} MB"

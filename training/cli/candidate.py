"""``candidate``: a version ranks for a share of the traffic before it becomes the champion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import Models
from training.errors import ConfigError


def candidate(
    reference: Annotated[
        str, typer.Argument(help="name@version or name@alias; with --stop, the name.")
    ],
    shadow: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the champion's rankings that it repeats."),
    ] = 0.05,
    canary: Annotated[
        float, typer.Option(min=0, max=1, help="Share of users whom it serves.")
    ] = 0.0,
    stop: Annotated[bool, typer.Option("--stop", help="Take it out of traffic.")] = False,
    error_rate: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Largest share of failed rankings before a return."),
    ] = None,
    drift: Annotated[
        float | None, typer.Option(min=0, help="Largest score drift before a return.")
    ] = None,
    rankings: Annotated[
        int | None, typer.Option(min=1, help="Rankings of a replica before it judges.")
    ] = None,
    models: Models = Path("models"),
) -> None:
    """Let a version repeat a share of rankings unseen, and serve a share of users.

    Both shares are set at once. Limits that are not given stay as they are; they hold for the
    champions after it as well. Publish the version with --no-promote before.
    """
    from service.contract.alias_moves import set_candidate
    from service.contract.repository import Repository
    from service.contract.rollout import CANDIDATE, Limits, Rollout, read_rollout

    repository = Repository(models)
    if "@" in reference if stop else "@" not in reference:
        wanted = "the name alone, with --stop" if stop else f"{reference}@1"
        raise ConfigError(f"{reference!r} is no candidate: write {wanted}")
    path = repository.resolve(reference)
    name = reference.partition("@")[0]
    limits = read_rollout(repository.root / name).limits
    changes = {"error_rate": error_rate, "drift": drift, "rankings": rankings}
    given = {limit: value for limit, value in changes.items() if value is not None}
    limits = Limits.model_validate({**limits.model_dump(), **given})
    if stop:
        set_candidate(repository, name, Rollout(limits=limits))
        typer.echo(f"{name} has no {CANDIDATE} any more")
        return
    version = int(path.name)
    # A salt of its own: not the same users try each version.
    rollout = Rollout(
        version=version, salt=f"{name}@{version}", shadow=shadow, canary=canary, limits=limits
    )
    set_candidate(repository, name, rollout)
    typer.echo(
        f"{name}@{CANDIDATE} is now {name}@{version}: it repeats {shadow:.1%} of the champion's "
        f"rankings and serves {canary:.1%} of users"
    )

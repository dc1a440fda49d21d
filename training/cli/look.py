"""``look``: one user's rankings at several tradeoffs, without a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import BUILD, Build, Data, Models, Scratch
from training.errors import ConfigError


def look(
    reference: Annotated[str, typer.Argument(help="name, name@version or name@alias.")],
    data: Data,
    user: Annotated[str, typer.Option(help="User id.")],
    tradeoffs: Annotated[str, typer.Option(help="Tradeoffs, separated by commas.")] = "0,0.5,1",
    top: Annotated[int, typer.Option(min=1, max=1000, help="Places of each ranking.")] = 10,
    models: Models = Path("models"),
    build: Build = BUILD,
    scratch: Scratch = None,
) -> None:
    """Print a user's last clicks, and the titles that a model ranks first at each tradeoff.

    It reads the artifact and the dataset alone: neither Redis nor a service is needed.
    """
    from service.contract.artifact import open_artifact
    from service.contract.attributes import item_codings
    from service.contract.repository import Repository
    from training.data.dataset import open_dataset
    from training.demo.look import look_at, rankings_table

    weights = _tradeoffs(tradeoffs)
    artifact = open_artifact(Repository(models).resolve(reference))
    dataset = open_dataset(data, scratch, item_codings(artifact), cache=build)
    seen = look_at(artifact, dataset, user, weights, top)
    typer.echo(f"Last clicks of user {user}, latest first:")
    for title in seen.history or ["none"]:
        typer.echo(f"    {title}")
    if seen.by_history:
        typer.echo(f"{artifact.label} has no vector for this user: these clicks stand for them.")
    typer.echo(f"\n{rankings_table(user, weights, seen.rankings)}")


def _tradeoffs(text: str) -> list[float]:
    """Parse tradeoffs; raises ConfigError for one that is no number in [0, 1]."""
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        weights = []
    if not weights or not all(0 <= w <= 1 for w in weights):
        raise ConfigError(f"--tradeoffs {text!r}: write numbers from 0 to 1, such as 0,0.5,1")
    return weights

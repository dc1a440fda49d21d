"""``rollback``: an alias goes back to the version before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.contract import CHAMPION
from training.cli.options import Models


def rollback(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    alias: Annotated[str, typer.Option(help="Alias to move back.")] = CHAMPION,
    models: Models = Path("models"),
) -> None:
    """Move an alias back to the version before; running services follow.

    A second call goes back one version further. It reads the repository alone, and asks no gate.
    """
    from service.contract.alias_moves import former_version, roll_back
    from service.contract.repository import Repository

    repository = Repository(models)
    repository.resolve(name)  # names the models that there are
    left, version = roll_back(repository, name, alias)
    typer.echo(f"{name}@{alias} is now {name}@{version} (was {name}@{left})")
    before = former_version(repository, name, alias)
    further = "no version" if before is None else f"{name}@{before}"
    typer.echo(f"before it, the history has {further}")

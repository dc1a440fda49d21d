"""``promote``: an alias moves to a version, the champion's only through a gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.contract import CHAMPION
from training.cli.options import REDIS_URL, Models, Namespace, RedisUrl
from training.errors import ConfigError, PublishError

if TYPE_CHECKING:
    from service.contract.repository import Repository


def promote(
    reference: Annotated[str, typer.Argument(help="name@version, or name@alias to copy one.")],
    models: Models = Path("models"),
    alias: Annotated[str, typer.Option(help="Alias to move.")] = CHAMPION,
    default: Annotated[
        bool, typer.Option("--default", help="Let it serve requests that name no model.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Try a version that services have returned once more."),
    ] = False,
    force: Annotated[bool, typer.Option(help="Promote a version that the gate refuses.")] = False,
    items: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of the champion's items.")
    ] = 0.9,
    agreement: Annotated[
        float,
        typer.Option(min=0, max=1, help="Least agreement with the champion's rankings, 1: equal."),
    ] = 0.5,
    service: Annotated[
        str | None,
        typer.Option(help="URL of a service whose shadow rankings say how far both agree."),
    ] = None,
    compared: Annotated[
        int, typer.Option(min=1, help="Fewest shadow rankings that --service has to have compared.")
    ] = 500,
    key: Annotated[
        str | None, typer.Option(envvar="RANK_API_KEY", help="API key for --service.")
    ] = None,
    redis: RedisUrl = REDIS_URL,
    namespace: Namespace = "rank",
) -> None:
    """Point an alias at a version; running services follow.

    Before the champion moves, the version has to pass a gate: golden inputs, anchors, size of the
    catalogue, agreement with the champion. `rollback` goes back, without a gate.
    """
    from service.contract.artifact import open_artifact
    from service.contract.repository import Repository
    from training.release.gate import Demands, failed_checks

    repository = Repository(models)
    if "@" not in reference:
        raise ConfigError(f"{reference!r} names no version: write {reference}@1")
    path = repository.resolve(reference)
    name, version = path.parent.name, int(path.name)
    champion = repository.aliases(name).get(alias) if alias == CHAMPION else None
    if champion is not None and champion != version:
        demands = Demands(items, agreement, compared, service, key)
        artifact, serving = (open_artifact(repository.path(name, v)) for v in (version, champion))
        failures = failed_checks(artifact, serving, demands, url=redis, namespace=namespace)
        for failure in failures:
            typer.echo(f"{'overridden' if force else 'refused'}: {failure}", err=True)
        if failures and not force:
            raise PublishError(
                f"{reference} does not become the champion; to promote it all the same, add --force"
            )
    move_alias(repository, name, version, alias, default=default, again=again)


def move_alias(
    repository: Repository,
    name: str,
    version: int,
    alias: str,
    *,
    default: bool = False,
    again: bool = False,
) -> None:
    """Move an alias, and print where it and the default are now."""
    previous = repository.promote(name, version, alias, again=again)
    if default:
        repository.make_default(name, alias)
    change = "" if previous is None else f" (was {name}@{previous})"
    typer.echo(f"{name}@{alias} is now {name}@{version}{change}")
    typer.echo(_default_line(repository, name, alias))


def _default_line(repository: Repository, name: str, alias: str) -> str:
    """Return a sentence on the model that serves requests that name none."""
    from service.contract.artifact import ArtifactError

    kept = "" if alias == CHAMPION else f" --alias {alias}"
    move = f"python -m training promote {name}@{alias}{kept} --default"
    try:
        default = repository.default()
    except ArtifactError as error:
        return f"{error}; to let {name} be the default: {move}"
    if default is None:
        return f"no model is the default; to rank requests that name none by this one: {move}"
    if default.partition("@")[0] == name:
        return f"requests that name no model are ranked by {default}"
    return f"requests that name no model are still ranked by {default}; to move them: {move}"

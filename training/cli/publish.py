"""``publish`` and ``promote``: a model's records in Redis, and its alias."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from service.contract.artifact import ArtifactError, open_artifact
from service.contract.manifest import Spaces
from service.contract.repository import CHAMPION, Repository
from training.cli.options import (
    BUILD,
    REDIS_URL,
    Build,
    Data,
    Models,
    Namespace,
    RedisUrl,
    Scratch,
    open_newest,
)
from training.data.dataset import open_dataset
from training.errors import ConfigError
from training.release.parts import item_codings
from training.release.publish import BATCH, Published
from training.release.publish import publish as publish_records
from training.release.safeguards import check_anchors


def publish(
    reference: Annotated[str, typer.Argument(help="name, name@version or name@alias.")],
    data: Data,
    models: Models = Path("models"),
    redis: RedisUrl = REDIS_URL,
    namespace: Namespace = "rank",
    alias: Annotated[str, typer.Option(help="Alias to move once all records are in.")] = CHAMPION,
    promote: Annotated[bool, typer.Option(help="Move the alias; --no-promote leaves it.")] = True,
    fresh: Annotated[bool, typer.Option(help="Write all records again.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            help="Publish a model that does not beat a simple one, items that it hardly knows, or "
            "half of the catalogue or less."
        ),
    ] = False,
    allow_eviction: Annotated[
        bool, typer.Option(help="Publish to a store that evicts records when it is full.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="Records at a time.")] = BATCH,
    build: Build = BUILD,
    scratch: Scratch = None,
) -> None:
    """Write a model's records to Redis, then move its alias; running services follow.

    The items of --data become the catalogue; others leave it. A bare name is its newest version.
    Run the same command again to resume an interrupted publication.
    """
    repository = Repository(models)
    name = reference.partition("@")[0]
    repository.check_alias(name, alias)
    artifact = open_newest(repository, reference)
    if promote:
        repository.check_aliases(name)
    if not force and artifact.version not in repository.aliases(name).values():
        check_anchors(artifact)  # a version that serves already may get new items all the same
    dataset = open_dataset(data, scratch, item_codings(artifact), cache=build)

    def finish(published: Published) -> None:
        typer.echo(
            f"{artifact.label}: {published.items} items and {published.users} users in Redis, "
            f"{published.written} records written and {published.removed} items removed now"
        )
        if promote:
            _promote(repository, name, artifact.version, alias)

    publish_records(
        artifact,
        dataset,
        url=redis,
        namespace=namespace,
        batch=batch,
        fresh=fresh,
        force=force,
        allow_eviction=allow_eviction,
        served=_spaces(repository, name, alias) if promote else None,
        on_complete=finish,
    )


def _spaces(repository: Repository, name: str, alias: str) -> Spaces | None:
    """Return the spaces of the version that an alias names, None if none can be read."""
    version = repository.aliases(name).get(alias)
    with contextlib.suppress(ArtifactError):
        if version is not None:
            return open_artifact(repository.path(name, version)).manifest.spaces
    return None


def promote(
    reference: Annotated[str, typer.Argument(help="name@version, or name@alias to copy one.")],
    models: Models = Path("models"),
    alias: Annotated[str, typer.Option(help="Alias to move.")] = CHAMPION,
    default: Annotated[
        bool, typer.Option("--default", help="Let it serve requests that name no model.")
    ] = False,
) -> None:
    """Point an alias at a version; running services follow. Roll back the same way."""
    repository = Repository(models)
    if "@" not in reference:
        raise ConfigError(f"{reference!r} names no version: write {reference}@1")
    path = repository.resolve(reference)
    name = path.parent.name
    _promote(repository, name, int(path.name), alias, default=default)


def _promote(
    repository: Repository, name: str, version: int, alias: str, *, default: bool = False
) -> None:
    previous = repository.promote(name, version, alias)
    if default:
        repository.make_default(name, alias)
    change = "" if previous is None else f" (was {name}@{previous})"
    typer.echo(f"{name}@{alias} is now {name}@{version}{change}")
    typer.echo(_default_line(repository, name, alias))


def _default_line(repository: Repository, name: str, alias: str) -> str:
    """Return a sentence on the model that serves requests that name none."""
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

"""``publish``: a model's records in Redis, then its alias."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict, cast

import typer

from service.contract import CHAMPION
from training.cli.options import (
    BUILD,
    REDIS_URL,
    Build,
    Models,
    Namespace,
    RedisUrl,
    Scratch,
    open_newest,
)
from training.cli.promote import move_alias
from training.errors import PublishError
from training.release import BATCH

if TYPE_CHECKING:
    from service.contract.manifest import Spaces
    from service.contract.repository import Repository
    from training.release.publish import Published


class _Store(TypedDict):
    url: str
    namespace: str
    batch: int


def publish(
    reference: Annotated[str, typer.Argument(help="name, name@version or name@alias.")],
    data: Annotated[Path | None, typer.Option(help="Dataset folder.")] = None,
    add: Annotated[
        Path | None,
        typer.Option(help="Dataset folder whose items are written, new ones too; others stay."),
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option(help="Dataset folder whose items are written if the catalogue has them."),
    ] = None,
    remove: Annotated[
        Path | None,
        typer.Option(help="Text file of the ids of items to remove, one a line; others stay."),
    ] = None,
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

    --add, --update and --remove change some items of a published version, and move no alias.
    """
    from service.contract.attributes import item_codings
    from service.contract.repository import Repository
    from training.data.dataset import open_dataset
    from training.data.items import open_items
    from training.release.live import add_items, read_item_ids, remove_items
    from training.release.publish import publish as publish_records
    from training.release.safeguards import check_anchors

    sources = {"--data": data, "--add": add, "--update": update, "--remove": remove}
    named = " and ".join(option for option, path in sources.items() if path is not None)
    if named not in sources:
        raise PublishError(f"name one of {', '.join(sources)}, not {named or 'none'}")
    repository = Repository(models)
    if data is None:
        artifact = open_newest(repository, reference)
        store: _Store = {"url": redis, "namespace": namespace, "batch": batch}
        if (folder := add or update) is not None:
            items = open_items(folder, item_codings(artifact))
            changed = add_items(
                artifact, items, only_listed=add is None, allow_eviction=allow_eviction, **store
            )
        else:
            item_ids = read_item_ids(cast(Path, remove))
            changed = remove_items(artifact, item_ids, force=force, **store)
        typer.echo(
            f"{artifact.label}: {changed.changed} items {'removed' if remove else 'written'}, "
            f"{changed.left} left out; the catalogue has {changed.listed}"
        )
        return
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
            move_alias(repository, name, artifact.version, alias)

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
    from service.contract.artifact import ArtifactError, open_artifact

    version = repository.aliases(name).get(alias)
    with contextlib.suppress(ArtifactError):
        if version is not None:
            return open_artifact(repository.path(name, version)).manifest.spaces
    return None

"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.configs import MODELS
from training.fitting import DeviceName

if TYPE_CHECKING:
    from service.contract.artifact import Artifact
    from service.contract.repository import Repository

REDIS_URL = "redis://127.0.0.1:6379/0"
BUILD = Path("build/training")


def with_period(
    overrides: list[str] | None, since: str | None, until: str | None
) -> tuple[str, ...]:
    """Return ``overrides`` and those of --since and --until."""
    given = {"since": since, "until": until}
    texts = (f'{key}="{text}"' for key, text in given.items() if text is not None)
    return (*(overrides or ()), *texts)


def _checked_url(url: str) -> str:
    from training.release.store import parse_url

    parse_url(url)
    return url


def _checked_namespace(namespace: str) -> str:
    from training.release.store import check_namespace

    check_namespace(namespace)
    return namespace


def open_newest(repository: Repository, reference: str) -> Artifact:
    """Return the artifact of ``name@version`` or ``name@alias``; a bare name is its newest one.

    Raises ArtifactError if there is none or it is invalid.
    """
    from service.contract.artifact import open_artifact

    if "@" not in reference and (versions := repository.versions(reference)):
        reference = f"{reference}@{versions[-1]}"
    return open_artifact(repository.resolve(reference))


Data = Annotated[Path, typer.Option("--data", help="Dataset folder.")]
Out = Annotated[Path, typer.Option("--out", help="Dataset folder to write; must not exist.")]
Models = Annotated[Path, typer.Option("--models", help="Model repository.")]
Model = Annotated[
    str, typer.Option("--model", help=f"Packaged configuration, one of: {', '.join(MODELS)}.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML laid over the packaged configuration.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")
]
Build = Annotated[
    Path,
    typer.Option(
        "--build", help="Run store: checkpoints and results of runs, and what is known of parts."
    ),
]
RedisUrl = Annotated[
    str,
    typer.Option(
        "--redis", envvar="RANK_REDIS_URL", help="URL of the store.", callback=_checked_url
    ),
]
Namespace = Annotated[
    str,
    typer.Option(envvar="RANK_NAMESPACE", help="Prefix of every key.", callback=_checked_namespace),
]
Since = Annotated[
    str | None,
    typer.Option(
        help="Read impressions from this time on: an ISO date or time in UTC, or a number in the "
        "unit of the times."
    ),
]
Until = Annotated[str | None, typer.Option(help="Read impressions before this time.")]
Device = Annotated[
    DeviceName,
    typer.Option("--device", help="Where nets train and score; auto: cuda, else mps, else cpu."),
]
Scratch = Annotated[
    Path | None,
    typer.Option(help="Folder on disk for impressions that may exceed memory."),
]

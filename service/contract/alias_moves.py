"""Moves of a model's aliases besides ``promote``: a candidate's start and stop, rollbacks."""

from __future__ import annotations

from service.contract import CHAMPION
from service.contract.artifact import ArtifactError, open_artifact
from service.contract.repository import Repository
from service.contract.rollout import (
    CANDIDATE,
    HISTORY,
    Rollout,
    read_history,
    stack,
    write_rollout,
)


def former_version(repository: Repository, name: str, alias: str = CHAMPION) -> int | None:
    """Return the version to which ``alias`` can go back, None if there is none.

    Raises ArtifactError if the aliases or the history cannot be read.
    """
    version = repository.aliases(name).get(alias)
    return _before(repository, name, alias, version)


def roll_back(repository: Repository, name: str, alias: str = CHAMPION) -> tuple[int, int]:
    """Move ``alias`` back to the version before; return the version that it left and the new one.

    A second call goes back one version further. Raises ArtifactError if the history has no version
    before, or if its artifact is invalid.
    """
    chosen = 0

    def choose(current: int | None) -> int:
        nonlocal chosen
        before = _before(repository, name, alias, current)
        if before is None:
            reason = f"has no version before that of {name}@{alias}; promote the one that you want"
            raise ArtifactError(repository.root / name / HISTORY, reason)
        open_artifact(repository.path(name, before))
        chosen = before
        return before

    left = repository.move_alias(name, alias, choose, undo=True)
    return left or 0, chosen


def set_candidate(repository: Repository, name: str, rollout: Rollout) -> None:
    """Point the alias ``candidate`` at ``rollout.version``, None removes it, and set its traffic.

    Raises ArtifactError if the artifact of the version is invalid.
    """
    version, folder = rollout.version, repository.root / name
    if version is not None:
        open_artifact(repository.path(name, version))
    repository.move_alias(
        name, CANDIDATE, lambda _: version, before=lambda: write_rollout(folder, rollout)
    )


def _before(repository: Repository, name: str, alias: str, version: int | None) -> int | None:
    if version is None:
        return None
    versions = stack(read_history(repository.root / name), alias, version)
    return versions[-1] if versions else None

"""The files beside a model's aliases: ``rollout.json``, ``history.json``.

``rollout.json`` says how much of the traffic the alias ``candidate`` gets, and when services go
back to a former version by themselves. ``history.json`` records each move of an alias.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from service.contract.artifact import ArtifactError
from service.contract.files import write_atomically
from service.contract.front import Frozen, Unit
from service.contract.manifest import Name

ROLLOUT = "rollout.json"
HISTORY = "history.json"
CANDIDATE = "candidate"
_MOST_MOVES = 1000

T = TypeVar("T")
Version = Annotated[int, Field(ge=1)]


class Limits(Frozen):
    """When a replica judges that a version must go back. A null limit is not judged."""

    error_rate: Unit | None = Field(
        default=0.05,
        description="Largest share of rankings that fail for an unknown reason or hold a score "
        "that is not finite.",
    )
    drift: Annotated[float, Field(gt=0)] | None = Field(
        default=0.5,
        description="Largest population stability index of the scores, as in "
        "`rank_exposure_score_drift`.",
    )
    rankings: int = Field(
        default=1000, ge=1, description="Rankings of one replica before it judges."
    )
    watch_s: float = Field(
        default=3600.0,
        ge=0,
        description="Seconds after its promotion for which a champion is judged. A canary always "
        "is.",
    )


class Rollout(Frozen):
    """The traffic of the alias ``candidate`` and the limits of the automatic return."""

    version: Version | None = Field(
        default=None,
        description="The version that this traffic is for: the alias has to name it.",
    )
    salt: str = Field(default="", max_length=128, description="Chooses the users of the canary.")
    shadow: Unit = Field(
        default=0.0, description="Share of the champion's rankings that the candidate repeats."
    )
    canary: Unit = Field(default=0.0, description="Share of users whom the candidate serves.")
    limits: Limits = Limits()


class Move(Frozen):
    """One move of an alias; ``previous`` is null for its first.

    ``undo`` marks a move back to the version before: it takes the move before it off the stack.
    """

    time: AwareDatetime
    alias: Name
    previous: Version | None = Field(alias="from")
    version: Version = Field(alias="to")
    undo: bool = False


_MOVES = TypeAdapter(tuple[Move, ...])
_ROLLOUT = TypeAdapter(Rollout)


def read_rollout(folder: Path, *, required: bool = False) -> Rollout:
    """Return ``rollout.json`` of a model's folder, by default one without traffic if it is missing.

    Raises ArtifactError if the file is invalid, cannot be read, or is required and missing.
    """
    return read_document(folder / ROLLOUT, _ROLLOUT, Rollout(), required)


def write_rollout(folder: Path, rollout: Rollout) -> None:
    """Replace ``rollout.json``; the caller holds the lock of the aliases."""
    write_atomically(folder / ROLLOUT, rollout.model_dump_json(indent=2).encode())


def read_history(folder: Path, *, required: bool = False) -> tuple[Move, ...]:
    """Return the moves of a model's aliases, oldest first; raises as ``read_rollout``."""
    return read_document(folder / HISTORY, _MOVES, (), required)


def record_move(
    folder: Path, alias: str, previous: int | None, version: int, *, undo: bool
) -> None:
    """Append a move to ``history.json``; the caller holds the lock of the aliases."""
    fields = {"alias": alias, "from": previous, "to": version, "undo": undo}
    move = Move.model_validate({"time": datetime.now(UTC), **fields})
    moves = (*read_history(folder), move)[-_MOST_MOVES:]
    write_atomically(folder / HISTORY, _MOVES.dump_json(moves, indent=2, by_alias=True))


def stack(moves: Sequence[Move], alias: str, version: int) -> tuple[int, ...]:
    """Return the versions to which ``alias``, now at ``version``, can go back, the nearest last.

    Moves that did not reach ``version`` are left out: a writer that died records a move that did
    not happen, and people edit ``aliases.json``.
    """
    own = _own(moves, alias, version)
    versions: list[int] = []
    for move in own:
        if move.undo:
            del versions[-1:]
        elif move.previous is not None and move.previous != move.version:
            versions.append(move.previous)
    return tuple(versions)


def moved_at(moves: Sequence[Move], alias: str, version: int) -> datetime | None:
    """Return the time at which ``alias`` moved to ``version``, where it is now, None if unknown."""
    own = _own(moves, alias, version)
    return own[-1].time if own else None


def _own(moves: Sequence[Move], alias: str, version: int) -> list[Move]:
    own = [move for move in moves if move.alias == alias]
    while own and own[-1].version != version:
        own.pop()
    return own


def read_document(path: Path, kind: TypeAdapter[T], absent: T, required: bool) -> T:
    """Return a JSON file, ``absent`` if it is missing and not required; raises ArtifactError."""
    try:
        return kind.validate_json(path.read_bytes())
    except FileNotFoundError as error:
        if required:
            raise ArtifactError(path, "is missing") from error
        return absent
    except OSError as error:
        raise ArtifactError(path, f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the document"
        raise ArtifactError(path, f"{field}: {first['msg']}") from error

"""The change stream of users: it keeps true what services hold of users in memory.

There is one for a namespace, because stored histories are shared by all models. Whoever changes
what the store has of a user appends to it after the change, or in the same transaction. An entry
that a reader does not understand says that anything may have changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from service.contract.live_changes import Commands, append

_USERS, _SPACE = "users", "space"
_KEPT_S = 3600  # after the last change: it names users, and no service is as late

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(tuple[str, ...])


class UserChange(Struct, frozen=True):
    """What an entry announces: changes of ``user_ids``, or of all users of a ``space``.

    With neither, anything may have changed.
    """

    user_ids: tuple[str, ...] = ()
    space: str | None = None


def user_changes_key(namespace: str) -> str:
    """Return the key of the stream."""
    return f"{{{namespace}}}:user-changes"


def announce_users(pipeline: Commands, namespace: str, user_ids: Sequence[str]) -> None:
    """Queue the announcement that what the store has of users has changed."""
    _announce(
        pipeline, namespace, {_USERS: _encoder.encode(user_ids)}
    )  # ids may have any character


def announce_space_of_users(pipeline: Commands, namespace: str, space: str) -> None:
    """Queue the announcement that any record of a space of users may have changed."""
    _announce(pipeline, namespace, {_SPACE: space})


def _announce(pipeline: Commands, namespace: str, fields: Mapping[str, str | bytes]) -> None:
    stream = user_changes_key(namespace)
    append(pipeline, stream, fields)
    pipeline.expire(stream, _KEPT_S)


def announced_users(fields: Mapping[bytes, bytes]) -> UserChange:
    """Return what an entry of the stream announces."""
    if (space := fields.get(_SPACE.encode())) is not None:
        return UserChange(space=space.decode(errors="replace"))
    try:
        return UserChange(_decoder.decode(fields.get(_USERS.encode(), b"")))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return UserChange()

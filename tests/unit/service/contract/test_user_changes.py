"""What the change stream of users says, for readers of any version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from service.contract import keys
from service.contract.user_changes import (
    UserChange,
    announce_space_of_users,
    announce_users,
    announced_users,
    user_changes_key,
)


class _Pipeline:
    """Holds what was appended, as Redis returns it."""

    def __init__(self) -> None:
        self.entries: list[dict[bytes, bytes]] = []
        self.expires: list[tuple[str, int]] = []

    def xadd(self, name: str, fields: Mapping[str, Any], *, maxlen: int, approximate: bool) -> None:
        assert (name, maxlen, approximate) == ("{feed}:user-changes", 10_000, True)
        text = {k: v if isinstance(v, bytes) else v.encode() for k, v in fields.items()}
        self.entries.append({k.encode(): v for k, v in text.items()})

    def expire(self, name: str, time: int) -> None:
        self.expires.append((name, time))

    def sadd(self, name: str, *values: str) -> None:
        raise AssertionError((name, values))

    srem = sadd


@pytest.mark.parametrize("user_ids", [["u"], ["ü", "a\nb", 'c","d', " ", "\x00"]])
def test_users_of_any_ids_are_announced(user_ids: list[str]) -> None:
    pipeline = _Pipeline()
    announce_users(pipeline, "feed", user_ids)
    assert [announced_users(e) for e in pipeline.entries] == [UserChange(tuple(user_ids))]
    assert pipeline.expires == [("{feed}:user-changes", 3600)]  # it names people


def test_a_space_is_announced() -> None:
    pipeline = _Pipeline()
    announce_space_of_users(pipeline, "feed", "demo-u1")
    assert announced_users(pipeline.entries[0]) == UserChange(space="demo-u1")


@pytest.mark.parametrize("fields", [{}, {b"users": b"\xff"}, {b"users": b"{}"}, {b"new": b"1"}])
def test_an_entry_that_is_not_understood_may_be_any_change(fields: dict[bytes, bytes]) -> None:
    assert announced_users(fields) == UserChange((), None)


def test_the_stream_is_no_key_of_a_space() -> None:
    assert keys.split_key("feed", user_changes_key("feed").encode()) is None

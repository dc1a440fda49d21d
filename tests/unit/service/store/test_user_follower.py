"""What a follower makes of what it reads, and when it trusts the memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import pytest

from service.errors import StoreTimeoutError
from service.settings import Settings
from service.store import user_follower
from service.store.change_streams import ChangesRead
from service.store.user_follower import TRUST_S, UserFollower
from service.store.user_memory import UserMemory
from service.telemetry import Telemetry

Entry = Mapping[bytes, bytes]
CHANGED: Entry = {b"users": b'["u"]'}


class _Memory(UserMemory):
    """Notes its calls."""

    def __init__(self) -> None:
        super().__init__(1 << 20, Telemetry())
        self.calls: list[str] = []
        self.until_s: list[float] = []
        self.asked_s: list[float] = []

    def forget(self, user_ids: object) -> None:
        self.calls.append(f"forget {user_ids}")

    def forget_space(self, space: str) -> None:
        self.calls.append(f"forget space {space}")

    def clear(self) -> None:
        self.calls.append("clear")

    def follow(self, until_s: float) -> None:
        assert until_s <= time.monotonic() + TRUST_S
        self.calls.append("follow")

    def trust(self, until_s: float) -> None:
        self.calls.append("trust")
        self.until_s.append(until_s)

    def lose(self) -> None:
        self.calls.append("lose")


class _Streams:
    """Answers with scripted reads, then ends."""

    def __init__(self, reads: Sequence[ChangesRead | Exception]) -> None:
        self._reads = list(reads)
        self.asked_s: list[float] = []

    async def ends(self, _: object) -> tuple[str, ...]:
        return ("1-0",)

    async def read(self, *_: object) -> ChangesRead:
        self.asked_s.append(time.monotonic())
        await asyncio.sleep(0.001)
        if not self._reads:
            raise asyncio.CancelledError
        if isinstance(answer := self._reads.pop(0), Exception):
            raise answer
        return answer


def followed(*reads: ChangesRead | Exception) -> _Memory:
    memory, streams = _Memory(), _Streams(reads)
    memory.asked_s = streams.asked_s

    async def main() -> None:
        follower = UserFollower(Settings(), memory, Telemetry())
        follower._streams = streams  # type: ignore[assignment]  # a double
        with pytest.raises(asyncio.CancelledError):
            await follower.follow()
        await follower.close()

    asyncio.run(main())
    return memory


def read(*entries: Entry, gap: bool = False) -> ChangesRead:
    return ChangesRead(entries, ("2-0",), gap)


def test_entries_are_applied_before_memory_is_trusted() -> None:
    memory = followed(read(CHANGED, {b"space": b"u1"}, {b"what": b"is this"}), read())
    applied = ["forget ('u',)", "forget space u1", "clear"]
    assert memory.calls == ["follow", *applied, "trust", "trust", "lose"]


def test_memory_is_not_trusted_while_entries_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_follower, "_MOST", 1)
    memory = followed(read(CHANGED), read(CHANGED), read())
    assert memory.calls == ["follow", "forget ('u',)", "forget ('u',)", "trust", "lose"]


@pytest.mark.parametrize("fault", [read(CHANGED, gap=True), StoreTimeoutError("late")])
def test_memory_is_lost_and_followed_anew(
    fault: ChangesRead | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_follower, "_RETRY_S", 0.0)
    memory = followed(read(), fault, read())
    assert memory.calls == ["follow", "trust", "lose", "follow", "trust", "lose"]


def test_an_answer_says_nothing_of_the_time_since_it_was_asked_for() -> None:
    memory = followed(read())
    assert memory.until_s[0] - TRUST_S <= memory.asked_s[0]

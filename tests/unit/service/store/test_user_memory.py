"""Users in memory: bounded, and never older than what was announced."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from service.contract.records import encode
from service.store.user_memory import ENTRY_BYTES, OLDEST_S, StoredUser, UserMemory
from service.telemetry import Telemetry

SPACE = "u1"


class Memory(UserMemory):
    """A followed memory with a clock that tests move; its reads end at once."""

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        self.now_s = 1000.0
        self.telemetry = Telemetry()
        super().__init__(max_bytes, self.telemetry, lambda: self.now_s)
        self.follow(self.now_s + 1e6)

    def read(self, user_id: str, record: bytes | None = b"r", space: str = SPACE) -> None:
        reading = self.begin(space, user_id)
        assert reading is not None
        self.keep(reading, StoredUser(record))
        self.end(reading)

    def held(self, user_id: str, space: str = SPACE) -> bool:
        return self.get(space, user_id) is not None

    def metric(self, name: str, **labels: str) -> float:
        self.report()
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_a_user_is_held_in_its_space_with_a_record_or_without(memory: Memory) -> None:
    assert not memory.held("u")
    memory.read("u", b"record")
    memory.read("nobody", None)
    known, unknown = memory.get(SPACE, "u"), memory.get(SPACE, "nobody")
    assert known is not None
    assert known.record == b"record"
    assert unknown is not None
    assert unknown.record is None
    assert not memory.held("u", "another space")
    assert memory.metric("rank_user_memory_reads_total", result="hit") == 2
    assert memory.metric("rank_user_memory_reads_total", result="miss") == 2
    assert memory.metric("rank_user_memory_users") == 2


def test_the_least_recently_used_leave_when_bytes_run_out() -> None:
    memory = Memory(3 * (ENTRY_BYTES + 101))
    for user_id in "abc":
        memory.read(user_id, bytes(100))
    assert memory.held("a")
    memory.read("d", bytes(100))
    assert [u for u in "abcd" if memory.held(u)] == ["a", "c", "d"]
    memory.read("a", bytes(250))  # it grows, so that another one leaves
    assert [u for u in "abcd" if memory.held(u)] == ["a", "d"]
    memory.read("e", bytes(10_000))  # larger than the whole memory
    assert [u for u in "abcde" if memory.held(u)] == ["a", "d"]
    assert memory.metric("rank_user_memory_evicted_total") == 2
    assert memory.metric("rank_user_memory_bytes") == 2 * (ENTRY_BYTES + 1) + 350


def test_a_changed_user_leaves_all_spaces(memory: Memory) -> None:
    for space in ("u1", "u2"):
        for user_id in "ab":
            memory.read(user_id, space=space)
    memory.forget(["a", "never seen"])
    assert [memory.held("a", space) for space in ("u1", "u2")] == [False, False]
    assert [memory.held("b", space) for space in ("u1", "u2")] == [True, True]


def test_a_changed_space_empties_memory_if_it_is_of_use(memory: Memory) -> None:
    memory.read("u")
    memory.forget_space("a version that nobody ranks by")
    assert memory.held("u")
    memory.forget_space(SPACE)
    assert not memory.held("u")
    assert memory.metric("rank_user_memory_bytes") == 0


@pytest.mark.parametrize("change", ["user", "space", "all", "lost", "anew"])
def test_a_read_that_began_before_a_change_is_not_kept(memory: Memory, change: str) -> None:
    before, again = memory.begin(SPACE, "u"), memory.begin(SPACE, "u")
    other = memory.begin("u2", "other")
    assert before is not None
    assert again is not None
    assert other is not None
    match change:
        case "user":
            memory.forget(["u"])
        case "space":
            memory.forget_space(SPACE)
        case "all":
            memory.clear()
        case "lost":
            memory.lose()
        case "anew":  # lost and followed again while the read was under way
            memory.lose()
            memory.follow(memory.now_s + 1e6)
    memory.keep(before, StoredUser(b"old"))
    memory.end(before)
    assert not memory.held("u")
    if change != "lost":
        after = memory.begin(SPACE, "u")
        assert after is not None
        memory.keep(after, StoredUser(b"new"))
        memory.end(after)
    memory.keep(again, StoredUser(b"old"))  # later than the read that began after the change
    memory.end(again)
    held = memory.get(SPACE, "u")
    assert (held.record if held else None) == (None if change == "lost" else b"new")
    memory.keep(other, StoredUser(b"r"))
    assert memory.held("other", "u2") == (change == "user")


def test_nothing_is_kept_until_changes_are_followed() -> None:
    memory = Memory()
    memory.read("u")
    memory.lose()
    assert memory.begin(SPACE, "u") is None
    assert memory.metric("rank_user_memory_followed") == 0
    memory.follow(memory.now_s + 1)
    assert not memory.held("u")
    assert memory.metric("rank_user_memory_followed") == 1


def test_nobody_is_used_beyond_the_time_that_memory_is_trusted(memory: Memory) -> None:
    memory.read("u")
    memory.trust(memory.now_s + 1.0)
    memory.now_s += 0.99
    assert memory.held("u")
    memory.now_s += 0.02
    assert not memory.held("u")
    memory.trust(memory.now_s + 1.0)  # the answer was late, and says that nothing has changed
    assert memory.held("u")


def test_nobody_is_held_for_long_without_being_read(memory: Memory) -> None:
    memory.read("u")
    memory.now_s += OLDEST_S
    assert not memory.held("u")
    memory.read("u")
    assert memory.held("u")


def test_a_vector_is_decoded_once() -> None:
    user = StoredUser(encode(np.array([[1.0, 2.0]], np.float32))[0])
    vector = user.vector(2)
    assert vector is not None
    assert vector.tolist() == [[1, 2]]
    assert user.vector(2) is vector
    assert user.vector(3) is None
    assert StoredUser().vector(2) is None
    assert StoredUser(b"corrupt").vector(2) is None


def test_bytes_are_about_those_that_are_used() -> None:
    (record,) = encode(np.zeros((1, 98), np.float32))
    memory = Memory(1 << 30)
    count = 3000
    tracemalloc.start()
    for number in range(count):
        user_id = f"user-{number:06d}"
        memory.read(user_id, bytes(bytearray(record)))
        user = memory.get(SPACE, user_id)
        assert user is not None
        user.vector(98)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    reported = memory.metric("rank_user_memory_bytes")
    assert 0.85 * reported < used < 1.15 * reported, (used / count, reported / count)

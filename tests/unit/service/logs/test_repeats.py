"""A flood of one message leaves room for others, and is counted."""

from __future__ import annotations

import logging

from service.logs.formats import Line
from service.logs.repeats import INTERVAL_S, RepeatLimit


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class _Refused(Line):
    code: str | None

    @property
    def repeats(self) -> str | None:
        return self.code


def _record(message: object, *arguments: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("n", level, "f", 1, message, arguments, None)


def test_repeats_beyond_the_limit_are_left_out_and_counted() -> None:
    clock = _Clock()
    limit = RepeatLimit(3, clock)
    records = [_record("request %s failed", number) for number in range(10)]
    assert [limit.filter(record) for record in records] == 3 * [True] + 7 * [False]
    assert [getattr(record, "note", None) for record in records[:3]] == [
        None,
        None,
        "more like this are left out for 10 s",
    ]
    clock.now = INTERVAL_S
    after = _record("request %s failed", 10)
    assert limit.filter(after)
    assert after.note == "7 like this were left out"  # type: ignore[attr-defined]


def test_other_messages_pass() -> None:
    limit = RepeatLimit(1, _Clock())
    passed = [
        limit.filter(_record("a %s", 1)),
        limit.filter(_record("b %s", 1)),
        limit.filter(_record("a %s", 1, level=logging.ERROR)),
        limit.filter(_record("a %s", 2)),
    ]
    assert passed == [True, True, True, False]


def test_lines_repeat_by_their_own_word() -> None:
    limit = RepeatLimit(1, _Clock())
    words = [None, None, "overloaded", "overloaded", "not_ready"]
    passed = [limit.filter(_record(_Refused(code=word))) for word in words]
    assert passed == [True, True, True, False, True]


def test_messages_without_a_template_do_not_fill_the_memory() -> None:
    limit = RepeatLimit(1, _Clock())
    for number in range(5000):
        limit.filter(_record(f"message {number}"))
    assert len(limit._messages) <= 1000

"""The limit of a wait says what ran out: the request's deadline, or the store's timeout."""

from __future__ import annotations

import pytest

from service.errors import DeadlineError, StoreTimeoutError
from service.ranking.request import Clock
from service.store.limit import Limit

STORE = Limit(0.2)


@pytest.mark.parametrize("deadline_ms", [None, 60_000.0, 200.1 + 1000])
def test_the_stores_timeout_is_the_limit_where_it_is_shorter(deadline_ms: float | None) -> None:
    limit = Clock(deadline_ms, STORE).limit()
    assert limit is STORE
    assert type(limit.error()) is StoreTimeoutError


@pytest.mark.parametrize("deadline_ms", [0.001, 1.5, 200.0])
def test_the_deadline_is_the_limit_where_it_is_shorter(deadline_ms: float) -> None:
    limit = Clock(deadline_ms, STORE).limit()
    assert 0 <= limit.timeout_s < deadline_ms / 1000
    assert isinstance(limit.error(), DeadlineError)


def test_a_deadline_that_has_passed_leaves_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("service.ranking.request.time.perf_counter", lambda: now_s)
    clock = Clock(50.0, STORE)
    now_s = 100.06
    assert clock.limit() == Limit(0.0, is_deadline=True)

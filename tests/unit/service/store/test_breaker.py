from __future__ import annotations

import pytest

from service.errors import StoreOpenError
from service.store.breaker import FAILURES, FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker
from service.telemetry import Telemetry


class _Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> _Time:
    return _Time()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def breaker(telemetry: Telemetry, time: _Time) -> Breaker:
    return Breaker(telemetry, time)


def _state(telemetry: Telemetry) -> float | None:
    return telemetry.registry.get_sample_value("rank_store_breaker_state")


def _fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed()


def _refuses(breaker: Breaker) -> bool:
    try:
        breaker.check()
    except StoreOpenError:
        return True
    return False


def test_only_failures_in_a_row_open_it(breaker: Breaker, telemetry: Telemetry) -> None:
    _fail(breaker, FAILURES - 1)
    breaker.succeeded()
    _fail(breaker, FAILURES - 1)
    assert not _refuses(breaker)
    assert _state(telemetry) == 0
    breaker.failed()
    assert _refuses(breaker)
    assert _state(telemetry) == 2


def test_one_read_per_pause_probes(breaker: Breaker, telemetry: Telemetry, time: _Time) -> None:
    _fail(breaker, FAILURES)
    time.now += FIRST_PAUSE_S
    assert not _refuses(breaker)
    assert _state(telemetry) == 1
    assert _refuses(breaker)  # until the probe has a result
    time.now += FIRST_PAUSE_S
    assert not _refuses(breaker)  # the probe had no result: another


def test_a_probe_that_fails_doubles_the_pause_up_to_a_limit(breaker: Breaker, time: _Time) -> None:
    _fail(breaker, FAILURES)
    pauses = []
    for _ in range(8):
        waited = 0.0
        while _refuses(breaker):
            time.now += FIRST_PAUSE_S
            waited += FIRST_PAUSE_S
        pauses.append(waited)
        breaker.failed()
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0]
    assert max(pauses) == LONGEST_PAUSE_S


def test_failures_that_were_under_way_do_not_prolong_the_pause(
    breaker: Breaker, time: _Time
) -> None:
    _fail(breaker, FAILURES + 20)
    time.now += FIRST_PAUSE_S
    assert not _refuses(breaker)


def test_any_answer_closes_it_and_resets_the_pause(
    breaker: Breaker, telemetry: Telemetry, time: _Time
) -> None:
    for _ in range(4):
        _fail(breaker, FAILURES)
        time.now += LONGEST_PAUSE_S
        breaker.check()
    breaker.succeeded()
    assert not _refuses(breaker)
    assert _state(telemetry) == 0
    _fail(breaker, FAILURES)
    time.now += FIRST_PAUSE_S
    assert not _refuses(breaker)
    opened = telemetry.registry.get_sample_value("rank_store_breaker_opened_total")
    assert opened == 5

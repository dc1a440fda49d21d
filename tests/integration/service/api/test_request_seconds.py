"""The histogram of request times tells what clients waited for, and who did not wait."""

from __future__ import annotations

import contextlib
import threading
import time

from tests.integration.conftest import Running, until
from tests.integration.service.api.conftest import Edge, port_of
from tests.integration.service.api.wire import TIMEOUT_S, connected, get, post

SECONDS = "rank_http_request_seconds_%s"
BLOCKED_S = 0.3


def test_the_wait_behind_other_requests_counts(edge: Edge) -> None:
    """Two requests are read at once, and each holds the loop: the second waits for the first."""
    both_sent = threading.Event()
    with contextlib.ExitStack() as stack:
        service, echo = stack.enter_context(edge())
        holder, first, second = (stack.enter_context(connected(port_of(service))) for _ in range(3))
        for wire in (holder, first, second):  # accepted before the loop is held
            wire.send(get("/livez"))
            assert wire.answer().status == 200
        echo.before = lambda: both_sent.wait(TIMEOUT_S)
        holder.send(post())
        until(lambda: service.app.state.telemetry.in_flight._value.get() == 1)
        first.send(post())
        second.send(post())
        echo.before = lambda: time.sleep(BLOCKED_S)
        both_sent.set()
        for wire in (holder, first, second):
            assert wire.answer().status == 200
        ranked = '{route="/rank",status="200"}'
        until(lambda: service.metric(SECONDS % f"count{ranked}") == 3)
        # The last one waited for another's time, and then took its own.
        fast = service.metric(SECONDS % 'bucket{le="0.5",route="/rank",status="200"}')
        assert service.metric(SECONDS % f"sum{ranked}") >= 3 * BLOCKED_S
        assert fast == 2


def test_a_busy_loop_shows_in_its_lag(edge: Edge) -> None:
    with edge() as (service, echo):
        echo.before = lambda: time.sleep(BLOCKED_S)
        with connected(port_of(service)) as wire:
            assert wire.ask(post()).status == 200
        # Of the timers in that time, one at least was due in its first third.
        assert _late(service, "0.1") >= 1
        # In seconds, and not of a clock that runs on; a busy machine may be late by itself.
        assert _late(service, "5.0") == 0


def test_a_client_that_left_before_its_answer_is_499(edge: Edge) -> None:
    left = threading.Event()
    with edge() as (service, echo):
        echo.before = lambda: left.wait(TIMEOUT_S)
        with connected(port_of(service)) as wire:
            wire.send(post())
            until(lambda: service.app.state.telemetry.in_flight._value.get() == 1)
        left.set()
        gone = SECONDS % 'count{route="/rank",status="499"}'
        until(lambda: service.metric(gone) == 1)
        assert service.metric(SECONDS % 'count{route="/rank",status="200"}') == 0


def _late(service: Running, le: str) -> float:
    """Return the number of timers that were later than ``le`` seconds."""
    lag = "rank_event_loop_lag_seconds"
    text = service.client.get("/metrics").text  # one reading: timers go on between two

    def sample(name: str) -> float:
        return float(text.split(f"\n{name} ")[1].split("\n")[0])

    return sample(f"{lag}_count") - sample(f'{lag}_bucket{{le="{le}"}}')

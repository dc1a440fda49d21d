"""Requests that do not arrive in time."""

from __future__ import annotations

import select
import time

import pytest

from tests.integration.conftest import Running
from tests.integration.service.api.conftest import Edge, port_of
from tests.integration.service.api.wire import BODY, RANK, connected, get, post


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n"])
def test_a_silent_connection_is_closed(impatient: Running, data: bytes) -> None:
    with connected(port_of(impatient)) as wire:
        wire.send(data)
        rest = wire.reader.read()
        assert rest == b"" if not data else rest.startswith(b"HTTP/1.1 408 ")


def test_half_a_head_is_408(impatient: Running) -> None:
    with connected(port_of(impatient)) as wire:
        answer = wire.ask(RANK)
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.headers["connection"] == "close"
        assert wire.is_closed()


def test_a_head_in_small_parts_is_408(impatient: Running) -> None:
    with connected(port_of(impatient)) as wire:
        wire.send(RANK)
        while not select.select([wire.socket], [], [], 0.01)[0]:
            wire.send(b"X-Part: 1\r\n")
        assert wire.answer().status == 408


@pytest.mark.parametrize("before", [b"", get("/livez")])
def test_half_a_body_is_408(impatient: Running, before: bytes) -> None:
    late = 'rank_http_request_seconds_count{route="/rank",status="408"}'
    count = impatient.metric(late)
    with connected(port_of(impatient)) as wire:
        if before:
            assert wire.ask(before).status == 200
        answer = wire.ask(RANK + b"Content-Length: 100\r\n\r\n" + BODY)
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.headers["connection"] == "close"
        assert wire.is_closed()
    assert impatient.metric(late) == count + 1


def test_the_rest_of_a_refused_body_has_no_longer(impatient: Running) -> None:
    with connected(port_of(impatient)) as wire:
        assert wire.ask(RANK + b"Content-Length: 9000\r\n\r\n").status == 413
        wire.send(b"x")
        assert wire.is_closed()


def test_a_request_after_a_pause_is_in_time(impatient: Running) -> None:
    with connected(port_of(impatient)) as wire:
        for _ in range(3):
            assert wire.ask(post()).status == 200
            time.sleep(0.6)  # idle for longer than a request may take


def test_a_busy_loop_reads_what_has_arrived_before_it_refuses(edge: Edge) -> None:
    with edge(receive_timeout_s=0.5) as (service, echo):
        echo.before = lambda: time.sleep(0.8)
        with connected(port_of(service)) as slow, connected(port_of(service)) as wire:
            wire.send(post()[:-1])
            slow.send(post())
            wire.send(post()[-1:])
            assert wire.answer().status == 200

"""The limit on open connections: clients that work go before clients that wait."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Iterator

import pytest
from prometheus_client import Counter, Gauge

from service.telemetry import Telemetry
from tests.integration.conftest import until
from tests.integration.service.api.conftest import Edge, port_of
from tests.integration.service.api.wire import connected, get, post

IDLE, BATCH = 2000, 40


def _value(metric: Counter | Gauge) -> float:
    (family,) = metric.collect()
    return family.samples[0].value


def _are_accepted(telemetry: Telemetry, number: int) -> bool:
    return _value(telemetry.connections) + _value(telemetry.beyond_limit["closed"]) == number


@contextlib.contextmanager
def _idle(port: int, number: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    sockets = []
    try:
        for _ in range(number):
            sockets.append(socket.create_connection(("127.0.0.1", port), timeout=20))
            sockets[-1].sendall(sent)
        yield sockets
    finally:
        for one in sockets:
            one.close()


@pytest.mark.parametrize("sent", [b"", b"POST /rank HTTP/1.1\r\nHost: h\r\n"])
def test_a_client_that_works_is_served_among_2000_idle_ones(edge: Edge, sent: bytes) -> None:
    with edge(max_connections=64, receive_timeout_s=60) as (service, _):
        service.client.close()
        port, telemetry = port_of(service), service.app.state.telemetry
        closed, refused = (telemetry.beyond_limit[result] for result in ("closed", "refused"))
        with connected(port) as worker, contextlib.ExitStack() as idle:
            for number in range(IDLE // BATCH):
                assert worker.ask(post()).status == 200
                idle.enter_context(_idle(port, BATCH, sent))
                until(functools.partial(_are_accepted, telemetry, 1 + BATCH * (number + 1)))
            assert worker.ask(post()).status == 200
            assert _value(telemetry.connections) == 64
            assert (_value(closed), _value(refused)) == (1 + IDLE - 64, 0)


def test_the_one_that_is_idle_the_longest_is_closed(edge: Edge) -> None:
    with edge(max_connections=3, receive_timeout_s=60, keep_alive_s=60) as (service, _):
        service.client.close()
        port = port_of(service)
        with connected(port) as first, connected(port) as second, connected(port) as third:
            for wire in (second, third, first):
                assert wire.ask(get("/livez")).status == 200
            with connected(port) as fourth:
                assert fourth.ask(get("/livez")).status == 200
                assert second.is_closed()
                for wire in (first, third, fourth):
                    assert wire.ask(get("/livez")).status == 200


def test_without_an_idle_one_the_new_one_is_refused(edge: Edge) -> None:
    with edge(max_connections=2) as (service, _):
        service.client.close()
        port, in_flight = port_of(service), service.app.state.telemetry.in_flight
        with connected(port) as first, connected(port) as second:
            for wire in (first, second):  # busy: their bodies are on their way
                wire.send(post()[:-1])
            until(lambda: _value(in_flight) == 2)
            with connected(port) as third:
                answer = third.answer()
                assert (answer.status, answer.code) == (503, "overloaded")
                assert (answer.headers["retry-after"], answer.headers["connection"]) == (
                    "1",
                    "close",
                )
            for wire in (first, second):
                assert wire.ask(b"}").status == 200

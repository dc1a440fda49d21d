"""The limit on open connections: clients that work go before clients that wait."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.integration.conftest import until
from tests.integration.service.api.conftest import Edge, port_of
from tests.integration.service.api.wire import connected, get, post

IDLE = 2000


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
    with edge(max_connections=256, receive_timeout_s=60) as (service, _):
        port = port_of(service)
        with connected(port) as worker, contextlib.ExitStack() as idle:
            for _ in range(IDLE // 40):
                assert worker.ask(post()).status == 200
                idle.enter_context(_idle(port, 40, sent))
            assert worker.ask(post()).status == 200
        assert service.metric("rank_connections") <= 256
        assert service.metric('rank_connections_beyond_limit_total{result="closed"}') > 1700
        assert service.metric('rank_connections_beyond_limit_total{result="refused"}') == 0


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
            until(lambda: in_flight.collect()[0].samples[0].value == 2)
            with connected(port) as third:
                answer = third.answer()
                assert (answer.status, answer.code) == (503, "overloaded")
                assert (answer.headers["retry-after"], answer.headers["connection"]) == (
                    "1",
                    "close",
                )
            for wire in (first, second):
                assert wire.ask(b"}").status == 200

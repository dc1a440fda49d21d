"""Beyond the queue, rankings are turned away at once, and the connection lives on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.conftest import Running, until
from tests.integration.service.api.conftest import Edge, port_of
from tests.integration.service.api.wire import BODY, RANK, TIMEOUT_S, Wire, connected, get, post

SHED = 'rank_shed_total{queue="rankings"}'
REFUSED = 'rank_http_request_seconds_count{route="/rank",status="503"}'

Full = Callable[[bool], None]


@pytest.fixture(scope="module")
def full(edge: Edge) -> Iterator[tuple[Running, Full]]:
    """Serve, with a function that sets whether there is room for a ranking."""
    with edge(keep_alive_s=1, max_body_bytes=1 << 20) as (service, _):
        admission: Any = service.app.state.admission

        def be_full(is_full: bool) -> None:
            admission._room, admission._turns = (0, 0) if is_full else (64, 16)
            admission._left = admission._turns

        yield service, be_full
        be_full(False)


def _is_turned_away(wire: Wire) -> None:
    answer = wire.answer()
    assert (answer.status, answer.code) == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert len(answer.json["error"]["request_id"]) == 32


@pytest.mark.parametrize(
    "request_",
    [
        post(),
        post(BODY, b"Connection: keep-alive"),
        post().replace(b"/rank", b"/rank?x=1"),
        RANK + b"Transfer-Encoding: chunked\r\n\r\n10\r\n" + BODY + b"\r\n0\r\n\r\n",
        post(BODY[:-1] + b" " * 300_000 + b"}"),
        post() + post() + post(),
    ],
    ids=["plain", "keep-alive", "query", "chunked", "long", "pipelined"],
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_a_ranking_is_turned_away_and_the_next_is_served(
    full: tuple[Running, Full], request_: bytes, first: bool
) -> None:
    service, be_full = full
    shed, refused = service.metric(SHED), service.metric(REFUSED)
    count = request_.count(b"POST")
    be_full(False)
    with connected(port_of(service)) as wire:
        if not first:
            assert wire.ask(post()).status == 200
        for _ in range(2):
            be_full(True)
            wire.send(request_)
            for _ in range(count):
                _is_turned_away(wire)
            assert wire.ask(get("/livez")).status == 200
            be_full(False)
            assert wire.ask(post()).json["user_id"] == "u"
    assert service.metric(SHED) == shed + 2 * count
    assert service.metric(REFUSED) == refused + 2 * count


@pytest.mark.parametrize("cut", [5, len(RANK) + 3, -4])
def test_a_request_in_two_parts_is_turned_away(full: tuple[Running, Full], cut: int) -> None:
    service, be_full = full
    be_full(True)
    with connected(port_of(service)) as wire, connected(port_of(service)) as other:
        wire.send(post()[:cut])
        assert other.ask(get("/livez")).status == 200
        wire.send(post()[cut:])
        _is_turned_away(wire)
        assert wire.ask(get("/livez")).status == 200


@pytest.mark.parametrize(
    "request_",
    [
        post(BODY, b"Expect: 100-continue"),
        post(BODY, b"Connection: close"),
        post().replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["expect", "close", "HTTP/1.0"],
)
def test_a_connection_that_ends_with_its_answer_does(
    full: tuple[Running, Full], request_: bytes
) -> None:
    service, be_full = full
    be_full(True)
    with connected(port_of(service)) as wire:
        wire.send(request_)
        if b"Expect" in request_:
            assert wire.reader.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        answer = wire.answer()
        assert (answer.status, answer.code) == (503, "overloaded")
        assert answer.headers["connection"] == "close"
        assert wire.is_closed()


def test_the_wait_of_an_idle_connection_begins_anew(full: tuple[Running, Full]) -> None:
    service, be_full = full
    be_full(True)
    with connected(port_of(service)) as wire:
        for _ in range(4):  # for longer than a connection may be idle
            wire.send(post())
            _is_turned_away(wire)
            time.sleep(0.4)
        wire.send(post())
        _is_turned_away(wire)
        assert wire.is_closed()


def test_nothing_is_written_for_a_client_that_does_not_read(full: tuple[Running, Full]) -> None:
    service, be_full = full
    be_full(True)
    with connected(port_of(service)) as wire, pytest.raises(ConnectionError):
        wire.send(post() * 300_000)


def test_a_flood_is_turned_away_while_probes_are_answered(edge: Edge) -> None:
    with edge(rankings=2, ranking_queue=2) as (service, echo), contextlib.ExitStack() as stack:
        held = threading.Event()
        echo.before = lambda: held.wait(TIMEOUT_S)
        wires = [stack.enter_context(connected(port_of(service))) for _ in range(12)]
        for wire in wires:
            assert wire.ask(get("/livez")).status == 200
        wires[0].send(post())
        until(lambda: echo.calls == 1)
        for wire in wires[1:]:
            wire.send(post())
        held.set()
        statuses = [wire.answer().status for wire in wires]
        assert statuses.count(200) == 1 + 4
        assert statuses.count(503) == 7
        assert service.metric(SHED) == 7


def test_clients_that_left_while_they_waited_are_not_ranked(edge: Edge) -> None:
    with edge() as (service, echo):
        held = threading.Event()
        echo.before = lambda: held.wait(TIMEOUT_S)
        with connected(port_of(service)) as first, contextlib.ExitStack() as leaving:
            wires = [leaving.enter_context(connected(port_of(service))) for _ in range(20)]
            for wire in wires:  # accepted before the loop is held
                assert wire.ask(get("/livez")).status == 200
            first.send(post())
            until(lambda: echo.calls == 1)
            for wire in wires:
                wire.send(post())
            leaving.close()
            held.set()
            assert first.answer().status == 200
        gone = 'rank_http_request_seconds_count{route="/rank",status="499"}'
        until(lambda: service.metric(gone) == 20)
        assert echo.calls == 1

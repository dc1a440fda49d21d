"""Clients that misbehave, next to those that do not."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.scenario import Allowed, scenario
from tests.chaos.stack import Stack

_HOST = "127.0.0.1"
_LIVEZ = b"GET /livez HTTP/1.1\r\nHost: chaos\r\n\r\n"
_HALF = b"POST /rank HTTP/1.1\r\nHost: chaos\r\nContent-Length: 100\r\n\r\n" + b'{"user_id": '


@scenario("200 clients send half a body to the proxy and stall for 8 s", Allowed())
def stalled_bodies(stack: Stack) -> None:
    with _connections(stack.port, 200) as connections:
        for connection in connections:
            connection.sendall(_HALF)
        stack.hold(8)


@scenario("200 clients send half a body to one replica and stall until it gives up", Allowed())
def stalled_bodies_at_a_replica(stack: Stack) -> None:
    with _connections(stack.replicas[0].port, 200) as connections:
        for connection in connections:
            connection.sendall(_HALF)
        statuses = Counter(_status(connection, 15) for connection in connections)
    stack.check("each stalled request is answered by 408", set(statuses) == {408})


@scenario("Requests with 1 MB of headers go to the proxy and to a replica for 3 s", Allowed())
def huge_headers(stack: Stack) -> None:
    line = b"X-Filler: " + b"x" * 8000 + b"\r\n"
    request = b"GET /livez HTTP/1.1\r\nHost: chaos\r\n" + line * 125 + b"\r\n"
    statuses: Counter[int | None] = Counter()
    end_s = time.monotonic() + 3 * stack.scale
    while time.monotonic() < end_s:
        for port in (stack.port, stack.replicas[0].port):
            with _connections(port, 1) as (connection,):
                with contextlib.suppress(OSError):  # closed before all was sent
                    connection.sendall(request)
                statuses[_status(connection, 5)] += 1
    stack.check("they are refused", set(statuses) <= {400, 431, None})


@scenario("2,000 idle connections to the proxy for 8 s", Allowed())
def idle_connections(stack: Stack) -> None:
    with _connections(stack.port, 2000):
        for _ in range(8):
            stack.hold(1)
            with _connections(stack.port, 1) as (connection,):
                connection.sendall(_LIVEZ)
                stack.check("a new client is answered", _status(connection, 2) == 200)


@scenario("2,000 idle connections to one replica for 8 s", Allowed())
def idle_connections_at_a_replica(stack: Stack) -> None:
    with _connections(stack.replicas[0].port, 2000):
        stack.hold(8)
        stack.check("the replica stays ready", stack.replicas[0].ready)


@scenario("Clients offer h2c (`Upgrade: h2c`, and HTTP/2 without asking) for 3 s", Allowed())
def h2c(stack: Stack) -> None:
    body = b'{"user_id": "u0000", "top_k": 1}'
    upgrade = (
        b"POST /rank HTTP/1.1\r\nHost: chaos\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
    end_s = time.monotonic() + 3 * stack.scale
    while time.monotonic() < end_s:
        for port in (stack.port, stack.replicas[0].port):
            with _connections(port, 2) as (polite, rude):
                polite.sendall(upgrade)
                rude.sendall(preface)
                stack.check("an upgrade is answered as HTTP/1.1", _status(polite, 5) == 200)
                _status(rude, 5)


@contextlib.contextmanager
def _connections(port: int, count: int) -> Iterator[Sequence[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((_HOST, port), timeout=10))
            for _ in range(count)
        ]


def _status(connection: socket.socket, timeout_s: float) -> int | None:
    """Return the status of an answer, None if the connection is closed without one."""
    connection.settimeout(timeout_s)
    with contextlib.suppress(OSError):
        if match := re.match(rb"HTTP/1\.[01] (\d{3})", connection.recv(4096)):
            return int(match[1])
    return None

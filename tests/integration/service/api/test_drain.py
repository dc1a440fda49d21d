"""A stop by signal: what has been sent is answered, and no connection is reset."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.conftest import until
from tests.integration.service.api.process import serving
from tests.integration.service.api.wire import BODY, RANK, Wire, connected, get


def test_open_connections_are_answered_and_closed(tmp_path: Path) -> None:
    settings = {"RANK_KEEP_ALIVE_S": "60", "RANK_DRAIN_S": "60"}
    with serving(tmp_path, **settings) as service:
        with connected(service.port) as kept_alive, connected(service.port) as silent:
            assert kept_alive.ask(get("/livez")).headers.get("connection") is None
            service.stop()
            readiness = kept_alive.ask(get("/readyz"))
            assert (readiness.status, readiness.json["status"]) == (503, "draining")
            assert (readiness.headers["connection"], readiness.headers["retry-after"]) == (
                "close",
                "1",
            )
            liveness = silent.ask(get("/livez"))
            assert (liveness.status, liveness.headers["connection"]) == (200, "close")
            assert kept_alive.is_closed()
            assert silent.is_closed()
        log = service.end()
    assert "Traceback" not in log
    assert service.process.returncode == -signal.SIGTERM


def test_idle_connections_end_with_their_wait(tmp_path: Path) -> None:
    settings = {"RANK_KEEP_ALIVE_S": "1", "RANK_DRAIN_S": "60", "RANK_RECEIVE_TIMEOUT_S": "60"}
    with serving(tmp_path, **settings) as service:
        with connected(service.port) as kept_alive, connected(service.port) as silent:
            kept_alive.ask(get("/livez"))
            service.stop()
            assert kept_alive.is_closed()
            assert silent.is_closed()
        service.end()


def test_half_a_body_at_the_end_is_503_without_a_traceback(tmp_path: Path) -> None:
    with serving(tmp_path, RANK_DRAIN_S="1") as service, connected(service.port) as wire:
        wire.send(RANK + b"Content-Length: 100\r\n\r\n" + BODY)
        with connected(service.port) as other:  # answered: the service has read the first
            until(lambda: b"rank_http_requests_in_flight 2" in other.ask(get("/metrics")).body)
        service.process.send_signal(signal.SIGTERM)
        answer = wire.answer()
        assert (answer.status, answer.code) == (503, "draining")
        assert (answer.headers["connection"], answer.headers["retry-after"]) == ("close", "1")
        assert wire.is_closed()
        log = service.end()
    assert "Traceback" not in log
    assert " 503 " in log


@pytest.mark.parametrize("kept_alive", [True, False])
def test_no_connection_is_reset(tmp_path: Path, kept_alive: bool) -> None:
    with serving(tmp_path) as service:
        outcomes: Counter[str] = Counter()
        clients = [
            threading.Thread(target=_ask_until_the_end, args=(service.port, kept_alive, outcomes))
            for _ in range(8)
        ]
        for client in clients:
            client.start()
        until(lambda: outcomes["answered"] > 100)
        service.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(30)
        service.end()
    assert outcomes.keys() == {"answered", "not accepted"}


def _ask_until_the_end(port: int, kept_alive: bool, outcomes: Counter[str]) -> None:
    """Ask until no new connection is accepted; count how each request ends."""
    while True:
        try:
            wire = Wire(port)
        except ConnectionRefusedError:
            outcomes["not accepted"] += 1
            return
        with contextlib.closing(wire):
            while True:
                try:
                    answer = wire.ask(get("/livez"))
                except (OSError, EOFError) as error:
                    outcomes[repr(error)] += 1
                    break
                outcomes["answered"] += 1
                if not kept_alive or answer.headers.get("connection") == "close":
                    break

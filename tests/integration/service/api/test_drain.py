"""A stop by signal: what has been sent is answered, and no connection is reset."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.integration.conftest import until
from tests.integration.service.api.process import serving
from tests.integration.service.api.stops import NOT_ACCEPTED, stop_under_load
from tests.integration.service.api.wire import BODY, RANK, connected, get


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
        outcomes = stop_under_load(
            service.port, get("/livez"), service.process.terminate, clients=8, kept_alive=kept_alive
        )
        service.end()
    assert outcomes.keys() == {"200", NOT_ACCEPTED}


def test_a_kill_costs_only_what_was_in_flight(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        outcomes = stop_under_load(service.port, get("/livez"), service.process.kill, clients=8)
    lost = outcomes.total() - outcomes["200"] - outcomes[NOT_ACCEPTED]
    assert outcomes[NOT_ACCEPTED] == 8
    # Of each client the open request, and one on a connection that waits to be accepted.
    assert 0 < lost <= 2 * 8
    assert not list(
        tmp_path.iterdir()
    )  # the service writes no files: a kill leaves none half-written

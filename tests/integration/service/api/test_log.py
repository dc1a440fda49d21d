"""What a request contains forges no line of the log, and does not fill it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from tests.integration.service.api.process import serving
from tests.integration.service.api.wire import connected, get, post

FORGED = "2026-01-01 00:00:00,000 INFO root: all is well"
NAMES = [f"x\n{FORGED}", f"\r\x1b[2K\u2028{FORGED}", "x" * 500_000]


def _log_of_strange_requests(models: Path, **settings: str) -> str:
    with serving(models, **settings) as service:
        with connected(service.port) as wire:
            for name in NAMES:
                refused = wire.ask(post(msgspec.json.encode({"user_id": "u", name: 1})))
                assert refused.status == 422
                assert len(refused.body) < 1000
                unready = {"user_id": "u", "request_id": name[:100]}
                answer = wire.ask(post(msgspec.json.encode(unready)))
                assert answer.status == 503
                assert answer.json["error"]["request_id"] == name[:100]
        service.process.send_signal(signal.SIGTERM)
        return service.end()


def test_a_request_is_one_short_line_of_the_log(tmp_path: Path) -> None:
    log = _log_of_strange_requests(tmp_path)
    lines = [line for line in log.split("\n") if " service.api.reports: POST /rank " in line]
    assert len(lines) == 2 * len(NAMES)
    assert all(line.isprintable() and len(line) < 900 for line in lines)
    assert not [line for line in log.splitlines() if line.startswith(FORGED)]


def test_a_line_of_json_is_one_object_with_the_id_as_it_came(tmp_path: Path) -> None:
    log = _log_of_strange_requests(tmp_path, RANK_LOG_FORMAT="json")
    entries = [json.loads(line) for line in log.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, entries))
    unready = [entry["request_id"] for entry in entries if entry.get("code") == "not_ready"]
    assert unready == [name[:100] for name in NAMES]


def test_a_log_that_nobody_reads_stops_neither_requests_nor_the_end(tmp_path: Path) -> None:
    with serving(tmp_path, RANK_LOG_REQUESTS="1") as service:
        with connected(service.port) as wire:
            for _ in range(1000):  # beyond the 64 KB that a pipe holds
                assert wire.ask(get("/livez")).status == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == -signal.SIGTERM


def test_tracing_without_its_packages_is_refused_with_the_mend(tmp_path: Path) -> None:
    absent = "import sys; sys.modules['opentelemetry.sdk'] = None; sys.argv = ['service']; "
    done = subprocess.run(
        [sys.executable, "-c", absent + "import service.__main__ as m; sys.exit(m.main())"],
        env={"RANK_PORT": "0", "RANK_MODELS_DIR": str(tmp_path), "RANK_OTEL": "true"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("RANK_OTEL: install the packages of the extra otel")
    assert len(done.stderr.splitlines()) == 1

"""What a request contains forges no line of the log, and does not fill it."""

from __future__ import annotations

import signal
from pathlib import Path

import msgspec

from tests.integration.service.api.process import serving
from tests.integration.service.api.wire import connected, post

FORGED = "2026-01-01 00:00:00,000 INFO root: all is well"


def test_a_request_is_one_short_line_of_the_log(tmp_path: Path) -> None:
    names = [f"x\n{FORGED}", f"\r\x1b[2K\u2028{FORGED}", "x" * 500_000]
    with serving(tmp_path) as service:
        with connected(service.port) as wire:
            for name in names:
                refused = wire.ask(post(msgspec.json.encode({"user_id": "u", name: 1})))
                assert refused.status == 422
                assert len(refused.body) < 1000
                unready = {"user_id": "u", "request_id": name[:100]}
                answer = wire.ask(post(msgspec.json.encode(unready)))
                assert answer.status == 503
                assert answer.json["error"]["request_id"] == name[:100]
        service.process.send_signal(signal.SIGTERM)
        log = service.end()
    lines = [line for line in log.split("\n") if " service.api.middleware: request " in line]
    assert len(lines) == 2 * len(names)
    assert all(line.isprintable() and len(line) < 700 for line in lines)
    assert not [line for line in log.splitlines() if line.startswith(FORGED)]

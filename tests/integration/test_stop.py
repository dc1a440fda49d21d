"""Ctrl-C and SIGTERM stop a service without a traceback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import until


@pytest.mark.parametrize(
    ("by", "exit_code"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_signal_stops_the_service_without_a_traceback(
    by: signal.Signals, exit_code: int, tmp_path: Path
) -> None:
    environment = {**os.environ, "RANK_PORT": "0", "RANK_MODELS_DIR": str(tmp_path)}
    service = subprocess.Popen(
        [sys.executable, "-m", "service"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert service.stderr is not None
    try:
        lines = iter(service.stderr.readline, "")
        address = next(
            match[0] for line in lines if (match := re.search(r"http://[^, ]+:\d+", line))
        )
        until(lambda: _lives(address))
        service.send_signal(by)
        _, errors = service.communicate(timeout=10)
    finally:
        service.kill()
    assert "Traceback" not in errors
    assert service.returncode == exit_code


def _lives(address: str) -> bool:
    try:
        return httpx.get(f"{address}/livez").is_success
    except httpx.TransportError:
        return False

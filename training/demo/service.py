"""A service in a process of its own, for the demo and the loop."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from training.demo.local_redis import child
from training.errors import TrainingError

HOST = "127.0.0.1"
FIRST_PORT = 8000
_PORTS_TRIED = 100
_READY_S = 60.0

log = logging.getLogger(__name__)


@contextlib.contextmanager
def serving(
    models: Path, redis_url: str, port: int, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the repository ``models`` to this machine during the block, once it is ready.

    ``settings`` are those of the service, RANK_... . Settings of this process are not inherited.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RANK_")}
    environment = {
        **inherited,
        "RANK_ACCESS": "open",
        "RANK_HOST": HOST,
        "RANK_PORT": str(port),
        "RANK_REDIS_URL": redis_url,
        "RANK_MODELS_DIR": str(models),
        "RANK_LOG_LEVEL": "warning",
        **settings,
    }
    with child([sys.executable, "-m", "service"], environment, quiet=False) as service:
        _wait_until_ready(port, service)
        yield service


def choose_port(port: int | None = None) -> int:
    """Return ``port``, or the first free one from 8000 on; log it if it is not 8000.

    Raises TrainingError if it is taken.
    """
    for candidate in [port] if port else range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED):
        with contextlib.suppress(OSError), socket.create_server((HOST, candidate)):
            if not port and candidate != FIRST_PORT:
                log.info("port %d is taken, serving on %d", FIRST_PORT, candidate)
                log.info("name another with `make demo PORT=...`")
            return candidate
    raise TrainingError(f"port {port or FIRST_PORT} is taken; name another: make demo PORT=...")


def random_port() -> int:
    """Return a free port that programs which start at the same time hardly choose as well."""
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    """Return status and body of one answer of the service on ``port``."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def _wait_until_ready(port: int, service: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_S
    answer = "no answer"
    while service.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            status, answer = ask(port, "GET", "/readyz")
            if status == http.HTTPStatus.OK:
                return
        time.sleep(0.05)
    raise TrainingError(f"the service did not become ready: {answer}")

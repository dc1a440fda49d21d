"""The proxy's own configuration in front of three replicas: no request fails when one dies.

Skipped without an ``haproxy`` on the PATH; `make test-stack` runs the same in containers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.bench.hotpath.servers import free_ports
from tests.integration.conftest import Deployment, until
from tests.integration.haproxy import Proxy, is_ready, proxied
from tests.integration.service.api.wire import RANK, connected

REPLICAS = 3
REQUESTS = 24

Replicas = list[tuple[subprocess.Popen[bytes], int]]

pytestmark = pytest.mark.skipif(not shutil.which("haproxy"), reason="needs haproxy")


@pytest.fixture
def replicas(deployment: Deployment) -> Iterator[Replicas]:
    settings = deployment.settings
    environment = {
        **os.environ,
        "RANK_MODELS_DIR": str(settings.models_dir),
        "RANK_REDIS_URL": settings.redis_url.get_secret_value(),
        "RANK_NAMESPACE": settings.namespace,
        "RANK_STORE_TIMEOUT_MS": "2000",
        "RANK_LOG_LEVEL": "error",
    }
    with contextlib.ExitStack() as stack:
        started = []
        for port in free_ports(REPLICAS):
            command = [sys.executable, "-m", "service"]
            process = subprocess.Popen(command, env={**environment, "RANK_PORT": str(port)})
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append((process, port))
        for _, port in started:
            until(lambda port=port: is_ready(port), 60)  # type: ignore[misc]  # the loop's port
        yield started


@pytest.fixture
def proxy(replicas: Replicas, tmp_path: Path) -> Iterator[Proxy]:
    with proxied([port for _, port in replicas], tmp_path) as running:
        yield running


@pytest.mark.parametrize("candidates", [3, 5000])
def test_requests_of_a_replica_that_dies_are_answered_by_another(
    proxy: Proxy, replicas: Replicas, candidates: int
) -> None:
    ids = [f"item-with-a-long-id-{index:05d}"[-20:] for index in range(candidates)]
    body = msgspec.json.encode({"user_id": "u", "candidates": ids, "top_k": 3})
    statuses: list[int] = []
    victim, _ = replicas[0]
    victim.send_signal(signal.SIGSTOP)  # what is sent to it from now on waits for its answer
    clients = [
        threading.Thread(target=_rank, args=(proxy.port, body, statuses)) for _ in range(REQUESTS)
    ]
    for client in clients:
        client.start()
    # All that went to the others is answered; the rest is in flight on the victim.
    until(lambda: 0 < proxy.sessions("replica0") == REQUESTS - len(statuses))
    victim.kill()
    for client in clients:
        client.join(30)
    assert statuses == [200] * REQUESTS


def test_requests_are_answered_while_a_replica_stops(proxy: Proxy, replicas: Replicas) -> None:
    body, statuses, stopped = b'{"user_id": "u", "top_k": 3}', list[int](), threading.Event()

    def rank_until_it_has_stopped() -> None:
        while not stopped.is_set():
            _rank(proxy.port, body, statuses)

    clients = [threading.Thread(target=rank_until_it_has_stopped) for _ in range(4)]
    for client in clients:
        client.start()
    until(lambda: len(statuses) > 50)
    victim, _ = replicas[0]
    victim.terminate()
    victim.wait(30)
    stopped.set()
    for client in clients:
        client.join(30)
    assert set(statuses) == {200}


def _rank(port: int, body: bytes, statuses: list[int]) -> None:
    """Send the head and the body apart, as many clients do."""
    with connected(port) as wire:
        wire.send(RANK + b"Content-Length: %d\r\n\r\n" % len(body))
        wire.send(body)
        statuses.append(wire.answer().status)

"""The proxy's own configuration in front of three replicas: no request fails when one dies.

Skipped without an ``haproxy`` on the PATH; `make test-stack` runs the same in containers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.integration.conftest import Deployment, until
from tests.integration.docker.conftest import DOCKER
from tests.integration.service.api.wire import RANK, connected

REPLICAS = 3
REQUESTS = 24

Replicas = list[tuple[subprocess.Popen[bytes], int]]


@dataclass(frozen=True)
class Proxy:
    port: int
    metrics_port: int

    def sessions(self, server: str) -> float:
        """Return the number of requests in flight on a server."""
        metrics = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics").text
        name = f'haproxy_server_current_sessions{{proxy="service",server="{server}"}} '
        (line,) = (line for line in metrics.splitlines() if line.startswith(name))
        return float(line.split()[-1])


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
        for port in _free_ports(REPLICAS):
            command = [sys.executable, "-m", "service"]
            process = subprocess.Popen(command, env={**environment, "RANK_PORT": str(port)})
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append((process, port))
        for _, port in started:
            until(lambda port=port: _is_ready(port), 60)  # type: ignore[misc]  # the loop's port
        yield started


@pytest.fixture
def proxy(replicas: Replicas, tmp_path: Path) -> Iterator[Proxy]:
    """Start the proxy; its names and ports in the stack become those of the replicas here."""
    port, metrics_port = _free_ports(2)
    servers = "\n".join(
        f"    server replica{index} 127.0.0.1:{port}" for index, (_, port) in enumerate(replicas)
    )
    text = (DOCKER / "haproxy" / "haproxy.cfg").read_text()
    for there, here in (
        ("    bind :8000\n", f"    bind 127.0.0.1:{port}\n"),
        ("    bind :8404\n", f"    bind 127.0.0.1:{metrics_port}\n"),
        (
            "    server-template replica 8 service:8000 resolvers docker init-addr none\n",
            f"{servers}\n",
        ),
    ):
        assert text.count(there) == 1, there
        text = text.replace(there, here)
    config = tmp_path / "haproxy.cfg"
    config.write_text(text)
    with subprocess.Popen(["haproxy", "-db", "-f", config], stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: _is_ready(port), 60)
            yield Proxy(port, metrics_port)
        finally:
            process.kill()


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


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").is_success
    except httpx.TransportError:
        return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [listener.getsockname()[1] for listener in sockets]

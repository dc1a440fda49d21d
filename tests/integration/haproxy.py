"""The compose stack's proxy in front of replicas on this machine; needs ``haproxy`` on the PATH."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.bench.hotpath.servers import free_ports
from tests.integration.conftest import until

CONFIGURATION = Path(__file__).parents[2] / "docker" / "haproxy" / "haproxy.cfg"


@dataclass(frozen=True)
class Proxy:
    port: int
    metrics_port: int

    def is_up(self, server: str) -> bool:
        """Return whether the proxy sends requests to a server."""
        return self._metric("status", server, ',state="UP"') == 1

    def sessions(self, server: str) -> float:
        """Return the number of requests in flight on a server."""
        return self._metric("current_sessions", server)

    def _metric(self, metric: str, server: str, state: str = "") -> float:
        metrics = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics").text
        name = f'haproxy_server_{metric}{{proxy="service",server="{server}"{state}}} '
        (line,) = (line for line in metrics.splitlines() if line.startswith(name))
        return float(line.split()[-1])


@contextlib.contextmanager
def proxied(replicas: Sequence[int], folder: Path) -> Iterator[Proxy]:
    """Start the proxy; its names and ports in the stack become those of the replicas here.

    ``replicas`` are their ports. The block begins once one of them is ready.
    """
    port, metrics_port = free_ports(2)
    servers = "\n".join(
        f"    server replica{index} 127.0.0.1:{port}" for index, port in enumerate(replicas)
    )
    text = CONFIGURATION.read_text()
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
    config = folder / "haproxy.cfg"
    config.write_text(text)
    command = ["haproxy", "-db", "-f", str(config)]
    with (
        (folder / "haproxy.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            until(lambda: is_ready(port), 60)
            yield Proxy(port, metrics_port)
        finally:
            process.kill()


def is_ready(port: int) -> bool:
    """Return whether the service behind a port is ready."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").is_success
    except httpx.TransportError:
        return False

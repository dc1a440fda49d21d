"""Redis as a cluster, behind sentinels and with TLS, each for the length of a block."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import redis

from tests.integration.conftest import until
from training.demo.local_redis import child, find_server

CLUSTER_OPTIONS = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")

_SLOTS = 16384
_BUS = 10_000  # a node's bus listens this far above its port


@contextlib.contextmanager
def server(folder: Path, port: int, *options: str) -> Iterator[redis.Redis]:
    """Start a server on a port of the loopback and yield a client."""
    folder.mkdir(parents=True)
    with child(command(folder, port, *options)), redis.Redis(port=port) as client:
        until(lambda: answers(client))
        yield client


def command(folder: Path, port: int, *options: str) -> list[str]:
    """Return the command of a server on a port of the loopback, with its files in ``folder``."""
    arguments = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", "")
    return [find_server(), *arguments, *options]


@contextlib.contextmanager
def cluster(folder: Path, nodes: int = 3) -> Iterator[list[redis.Redis]]:
    """Start a cluster without replicas and yield a client of each node."""
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(nodes):
            node = server(folder / str(number), cluster_port(), *CLUSTER_OPTIONS)
            clients.append(stack.enter_context(node))
        join(clients)
        yield clients


def join(clients: Sequence[redis.Redis]) -> None:
    """Make a cluster of empty servers, which share the slots evenly."""
    nodes = len(clients)
    bounds = [_SLOTS * number // nodes for number in range(nodes + 1)]
    for client, first, end in zip(clients, bounds[:-1], bounds[1:], strict=True):
        client.execute_command("CLUSTER ADDSLOTS", *range(first, end))
    for client in clients[1:]:
        clients[0].execute_command("CLUSTER MEET", "127.0.0.1", port_of(client))
    until(lambda: all(_whole(client, nodes) for client in clients))


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[tuple[str, redis.Redis, redis.Redis]]:
    """Start a primary, its replica and a sentinel; yield the URL and clients of both servers."""
    first, second, sentinel = free_port(), free_port(), free_port()
    config = folder / "sentinel.conf"
    with (
        server(folder / "first", first) as primary,
        server(folder / "second", second, "--replicaof", f"127.0.0.1 {first}") as replica,
    ):
        until(lambda: replica.info("replication")["master_link_status"] == "up")
        config.write_text(
            f"port {sentinel}\nbind 127.0.0.1\nsentinel monitor feed 127.0.0.1 {first} 1\n"
            "sentinel down-after-milliseconds feed 500\nsentinel failover-timeout feed 3000\n"
        )
        with child([find_server(), str(config), "--sentinel"]):
            with redis.Redis(port=sentinel) as client:
                until(lambda: answers(client))
                until(lambda: client.execute_command("SENTINEL REPLICAS", "feed"))
            yield f"redis+sentinel://127.0.0.1:{sentinel}/feed", primary, replica


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate of 127.0.0.1 and its key."""
    certificate_path, key_path = folder / "server.crt", folder / "server.key"
    openssl = shutil.which("openssl")
    assert openssl
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key_path), "-out", str(certificate_path)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate_path, key_path


def cluster_port() -> int:
    """Return a port that a node of a cluster can have."""
    return free_port(below=65_535 - _BUS)


def free_port(below: int = 65_536) -> int:
    """Return a port that nothing listens on."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port: int = listener.getsockname()[1]
        if port < below:
            return port


def port_of(client: redis.Redis) -> int:
    """Return the port that a client talks to."""
    return int(client.connection_pool.connection_kwargs["port"])


def answers(client: redis.Redis) -> bool:
    """Return whether a server answers PING."""
    with contextlib.suppress(redis.RedisError):
        return bool(client.ping())
    return False


def _whole(client: redis.Redis, nodes: int) -> bool:
    info = client.execute_command("CLUSTER INFO")
    return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == nodes

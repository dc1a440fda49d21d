"""A store, replicas and the proxy in front of them, for the length of a scenario."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from service.contract.artifact import Artifact
from service.contract.files import write_atomically
from service.contract.keys import Keys
from service.contract.repository import Repository
from tests.bench.common import bound, last_core
from tests.bench.hotpath.servers import free_ports
from tests.chaos.redis_server import RedisServer
from tests.chaos.replica import Replica
from tests.chaos.tcp import FaultyWire
from tests.chaos.world import NAME, World
from tests.integration import redis_servers
from tests.integration.conftest import until
from tests.integration.haproxy import Proxy, proxied
from training.release.publish import publish

NAMESPACE = "chaos"
POLL_S = 0.2  # of the replicas, for moved aliases


@dataclass(frozen=True)
class Needs:
    """The stack of a scenario.

    ``published`` versions have records in the store. ``wire`` puts a faulty wire between replicas
    and store. ``clock`` lets the scenario set the replicas' wall clocks. ``apart`` keeps replicas
    on one core and all else on another, so that busy replicas slow down nothing else.
    """

    store: Literal["server", "cluster", "sentinel"] = "server"
    redis: tuple[str, ...] = ()
    password: str | None = None
    replicas: int = 2
    published: int = 1
    wire: bool = False
    clock: bool = False
    apart: bool = False


@dataclass
class Stack:
    """A running stack; ``checks`` are sentences that must hold, and whether they do.

    ``scale`` shortens what is held, for a quick look.
    """

    world: World
    folder: Path
    url: str
    servers: list[RedisServer]
    clients: list[Any]
    scale: float
    replicas: list[Replica] = field(default_factory=list)
    wire: FaultyWire | None = None
    proxy: Proxy | None = None
    checks: dict[str, bool] = field(default_factory=dict)

    @property
    def models(self) -> Path:
        """The folder of the replicas' model repository."""
        return self.folder / "models"

    @property
    def repository(self) -> Repository:
        """The replicas' model repository."""
        return Repository(self.models)

    @property
    def redis(self) -> Any:
        """A client of the first server."""
        return self.clients[0]

    @property
    def port(self) -> int:
        """The port of the proxy."""
        assert self.proxy is not None
        return self.proxy.port

    def artifact(self, version: int = 1) -> Artifact:
        """Return a version of the model."""
        return self.world.versions[version - 1]

    def keys(self, version: int = 1) -> Keys:
        """Return the keys of a version's records."""
        return Keys(NAMESPACE, self.artifact(version).manifest.spaces)

    def publish(self, version: int = 1, *, fresh: bool = False) -> None:
        """Write the records of a version; no alias moves."""
        artifact = self.artifact(version)
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars
            publish(artifact, self.world.dataset, url=self.url, namespace=NAMESPACE, fresh=fresh)

    def promote(self, version: int) -> None:
        """Move the alias."""
        self.repository.promote(NAME, version)

    def hold(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds * self.scale)

    def check(self, sentence: str, holds: bool) -> None:
        """Note whether a sentence holds that must."""
        self.checks[sentence] = self.checks.get(sentence, True) and holds

    def restart(self, number: int) -> int:
        """Restart a replica and wait until it serves; return the exit code of the former process.

        The former process stops as by SIGTERM of an orchestrator.
        """
        replica = self.replicas[number]
        code = replica.stop()
        replica.start()
        replica.wait_ready()
        self.wait_served(number)
        return code

    def wait_served(self, number: int) -> None:
        """Wait until the proxy sends requests to a replica."""
        assert self.proxy is not None
        proxy = self.proxy
        until(lambda: proxy.is_up(f"replica{number}"))

    def set_clock(self, offset_s: float) -> None:
        """Move the replicas' wall clocks; their monotonic clocks go on."""
        write_atomically(self.folder / "clock", str(offset_s).encode())


@contextlib.contextmanager
def running(world: World, needs: Needs, folder: Path, scale: float) -> Iterator[Stack]:
    """Start a stack on the world; the block begins once the proxy has a ready replica."""
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as parts:
        core = last_core()
        if needs.apart:
            parts.enter_context(bound(min(os.sched_getaffinity(0))))
        stack = parts.enter_context(_stores(world, needs, folder, scale))
        for version in range(1, needs.published + 1):
            stack.publish(version)
        for artifact in world.versions:
            shutil.copytree(artifact.path, stack.models / NAME / str(artifact.version))
        stack.promote(1)
        stack.set_clock(0.0)
        url = stack.url
        if needs.wire:
            stack.wire = parts.enter_context(FaultyWire(stack.servers[0].port).running())
            url = f"redis://127.0.0.1:{stack.wire.port}"
        environment = {
            "RANK_MODELS_DIR": str(stack.models),
            "RANK_MODELS_POLL_S": str(POLL_S),
            "RANK_REDIS_URL": url,
            "RANK_NAMESPACE": NAMESPACE,
            "RANK_ACCESS": "open",
            "CHAOS_CLOCK": str(folder / "clock"),
        }
        for number, port in enumerate(free_ports(needs.replicas)):
            module = "tests.chaos.clocked" if needs.clock else "service"
            replica = Replica(port, folder / f"replica{number}.log", environment, module)
            with bound(core) if needs.apart else contextlib.nullcontext():
                replica.start()
            parts.callback(replica.kill)
            stack.replicas.append(replica)
        for replica in stack.replicas:
            replica.wait_ready()
        ports = [replica.port for replica in stack.replicas]
        stack.proxy = parts.enter_context(proxied(ports, folder))
        for number in range(needs.replicas):
            stack.wait_served(number)
        yield stack


@contextlib.contextmanager
def _stores(world: World, needs: Needs, folder: Path, scale: float) -> Iterator[Stack]:
    with contextlib.ExitStack() as parts:
        if needs.store == "sentinel":
            (folder / "redis").mkdir()
            url, *clients = parts.enter_context(redis_servers.watched(folder / "redis"))
            yield Stack(world, folder, url, [], clients, scale)
            return
        clustered = needs.store == "cluster"
        options = (*needs.redis, *(redis_servers.CLUSTER_OPTIONS if clustered else ()))
        servers = []
        for number in range(3 if clustered else 1):
            port = redis_servers.cluster_port()
            server = RedisServer(folder / f"redis{number}", port, *options, password=needs.password)
            server.start()
            parts.callback(server.close)
            servers.append(server)
        clients = [server.client for server in servers]
        credentials = f":{needs.password}@" if needs.password else ""
        url = f"redis://{credentials}127.0.0.1:{servers[0].port}"
        if clustered:
            redis_servers.join(clients)
            url = f"redis+cluster://127.0.0.1:{servers[0].port}"
        yield Stack(world, folder, url, servers, clients, scale)

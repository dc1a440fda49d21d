"""A service over real HTTP whose model is published to a real Redis."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from service.api.server import Server
from service.app import create_app
from service.contract.keys import Keys
from service.contract.repository import Repository
from service.contract.store_url import parse
from service.settings import Settings
from tests.conftest import World
from training.release.publish import publish
from training.release.store import connect

T = TypeVar("T")

READY_S = 20.0


class _Server(Server):
    """Sets ``up`` once it listens."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(app, settings)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@dataclass(frozen=True)
class Running:
    """A service that runs in a thread."""

    app: FastAPI
    client: httpx.Client
    models: Path

    def rank(self, **body: Any) -> dict[str, Any]:
        response = self.client.post("/rank", json=body)
        assert response.status_code == 200, response.text
        ranking: dict[str, Any] = response.json()
        return ranking

    def ids(self, **body: Any) -> list[str]:
        return [item["item_id"] for item in self.rank(**body)["items"]]

    def metric(self, name: str) -> float:
        """Return a sample by its full name and labels; 0 if there is none."""
        for line in self.client.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[-1])
        return 0.0


@dataclass(frozen=True)
class Deployment:
    """A copy of the world's repository, with its records under a separate namespace."""

    settings: Settings
    repository: Repository
    keys: Keys
    redis: Any

    def announce(self, *item_ids: str) -> None:
        """Announce changed items."""
        self.redis.xadd(self.keys.item_changes, {"ids": "\n".join(item_ids)})

    def gap(self) -> None:
        """Trim changes before the service can read them: it reads all items again."""
        pipeline = self.redis.pipeline(transaction=True)
        for number in range(2):
            ids = {"ids": f"another-{number}"}
            pipeline.xadd(self.keys.item_changes, ids, maxlen=1, approximate=False)
        pipeline.execute()

    def remove(self, *item_ids: str) -> None:
        """Remove items from the catalogue as `publish` does, but do not announce it."""
        pipeline = self.redis.pipeline(transaction=True)
        pipeline.srem(self.keys.catalog, *item_ids)
        pipeline.delete(*self.keys.items(item_ids))
        pipeline.execute()

    @contextlib.contextmanager
    def serve(self, *, ready: bool = True) -> Iterator[Running]:
        """Run a service on the deployment; enter the block once it is ready, or at once."""
        with running(self.settings) as service:
            if ready:
                until(lambda: service.client.get("/readyz").status_code == 200)
            yield service


def deploy(world: World, redis_url: str, models: Path, **settings: Any) -> Deployment:
    """Copy the world's repository to ``models`` and publish it."""
    namespace = f"t{uuid.uuid4().hex[:12]}"
    shutil.copytree(world.artifact.path, models / "toy" / "1")
    repository = Repository(models)
    publish(world.artifact, world.dataset, url=redis_url, namespace=namespace)
    repository.promote("toy", 1)
    service_settings = Settings(
        models_dir=models,
        models_poll_s=0.05,
        redis_url=SecretStr(redis_url),
        namespace=namespace,
        **{"store_timeout_ms": 2000, **settings},
    )
    keys = Keys(namespace, world.artifact.manifest.spaces)
    return Deployment(service_settings, repository, keys, connect(parse(redis_url)))


@pytest.fixture
def deployment(world: World, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """Deploy the world for a test that changes it; its records go after the test."""
    deployed = deploy(world, redis_url, tmp_path / "models")
    yield deployed
    if names := deployed.redis.keys(f"*{deployed.settings.namespace}*"):
        deployed.redis.unlink(*names)


@pytest.fixture(scope="session")
def service(
    world: World, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Serve the world once for all tests that only read."""
    with deploy(world, redis_url, tmp_path_factory.mktemp("served") / "models").serve() as running:
        yield running


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[Running]:
    """Serve in a thread; the block gets a client."""
    app = create_app(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    server = _Server(app, settings)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        assert server.up.wait(READY_S)
        host, port = listener.getsockname()
        address = f"http://{host}:{port}"  # without certificates, which take time to load
        with httpx.Client(base_url=address, timeout=READY_S, verify=False) as client:
            yield Running(app, client, settings.models_dir)
    finally:
        server.should_exit = True
        thread.join(READY_S)
        listener.close()
        assert not thread.is_alive()


def until(probe: Callable[[], T], timeout_s: float = READY_S) -> T:
    """Poll ``probe`` until its value is truthy; for state that is only seen from outside."""
    deadline = time.monotonic() + timeout_s
    while not (value := probe()):
        assert time.monotonic() < deadline, f"still {value!r} after {timeout_s} s"
        time.sleep(0.01)
    return value

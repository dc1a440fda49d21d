"""A service over real HTTP whose ranker echoes: its edges need neither a model nor a store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.ranking.messages import RankRequest
from service.ranking.request import Caller
from service.settings import Settings
from tests.integration.conftest import Running, running


@dataclass
class Echo:
    """Answers with the user of the request, after it has called ``before``."""

    before: Callable[[], object] = field(default=lambda: None)
    calls: int = 0

    async def rank(
        self, request: RankRequest, request_id: str, _: Caller, **_options: bool
    ) -> dict[str, str]:
        self.calls += 1
        self.before()
        return {"user_id": request.user_id, "request_id": request_id}


Edge = Callable[..., contextlib.AbstractContextManager[tuple[Running, Echo]]]


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Edge:
    """Return a function of settings that serves with an ``Echo`` for a ranker."""
    models: Path = tmp_path_factory.mktemp("no-models")

    @contextlib.contextmanager
    def serve(**settings: Any) -> Iterator[tuple[Running, Echo]]:
        with running(Settings(models_dir=models, **settings)) as service:
            service.app.state.ranker = echo = Echo()
            yield service, echo

    return serve


@pytest.fixture(scope="session")
def port(edge: Edge) -> Iterator[int]:
    """Serve with patience for slow tests, and little room for headers and bodies."""
    with edge(max_header_bytes=4096, max_body_bytes=8192) as (service, _):
        yield port_of(service)


@pytest.fixture(scope="session")
def impatient(edge: Edge) -> Iterator[Running]:
    """Serve with half a second for a request to arrive."""
    with edge(receive_timeout_s=0.5, max_body_bytes=8192) as (service, _):
        yield service


def port_of(service: Running) -> int:
    port = service.client.base_url.port
    assert port is not None
    return port

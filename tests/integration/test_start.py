"""A replica that starts before its store waits for it and says so."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.__main__ import serve
from service.catalog import lookup
from service.settings import Settings
from tests.conftest import World
from tests.integration.conftest import deploy, running, until
from training.demo.local_redis import private_redis

FAILED = 'rank_model_loads_total{result="failed"}'


def test_a_start_without_the_store_waits_reports_and_then_serves(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    later = tmp_path / "later.sock"
    with private_redis() as url:
        deployment = deploy(world, url, tmp_path / "models")
        settings = deployment.settings.model_copy(
            update={"redis_url": SecretStr(f"unix://{later}")}
        )
        with running(settings) as service:
            until(lambda: service.metric(FAILED) >= 2)
            readiness = service.client.get("/readyz")
            assert (readiness.status_code, readiness.json()["status"]) == (503, "waiting")
            assert readiness.headers["retry-after"] == "1"
            assert "toy@1: the store is not available" in readiness.json()["reason"]
            assert service.client.get("/livez").status_code == 200
            refused = service.client.post("/rank", json={"user_id": "u"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
            assert "the store is not available" in refused.json()["error"]["message"]
            later.symlink_to(url.removeprefix("unix://"))
            until(lambda: service.client.get("/readyz").status_code == 200)
            assert service.rank(user_id=world.dataset.user_ids[0])["degraded"] == []
    refusals = [r for r in caplog.records if "does not serve" in r.getMessage()]
    assert len(refusals) == 1


def test_a_start_says_whether_items_are_looked_up_in_numpy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(port=taken.getsockname()[1])
        for compiled in (True, False):
            monkeypatch.setattr(lookup, "COMPILED", compiled)
            caplog.clear()
            assert serve(settings) == 1
            said = [record.getMessage() for record in caplog.records]
            assert any("looked up in NumPy" in line for line in said) is not compiled
            assert "cannot listen" in said[-1]

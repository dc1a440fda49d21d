"""A store that refuses the service: ``/readyz`` and the log name the mend, and no password."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.conftest import World
from tests.integration import redis_servers
from tests.integration.conftest import deploy, running, until

SECRET = "s3cretmarker"


def test_a_wrong_password_is_the_reason_of_readyz(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = redis_servers.free_port()
    with redis_servers.server(tmp_path / "redis", port) as client:
        deployment = deploy(world, f"redis://127.0.0.1:{port}", tmp_path / "models")
        client.config_set("requirepass", "right")
        url = SecretStr(f"redis://:{SECRET}@127.0.0.1:{port}")
        settings = deployment.settings.model_copy(update={"redis_url": url})
        with running(settings) as service:
            until(lambda: "toy@1" in service.client.get("/readyz").text)
            answer = service.client.get("/readyz")
            metrics = service.client.get("/metrics").text
    assert answer.status_code == 503
    assert answer.json()["reason"].startswith(
        "toy@1: the store is not available: it refused the user name or password"
    )
    assert "does not serve: the store is not available: it refused" in caplog.text
    assert SECRET not in answer.text + caplog.text + metrics + repr(settings)


def test_a_password_that_was_changed_is_named_while_memory_serves(
    world: World, tmp_path: Path
) -> None:
    port = redis_servers.free_port()
    with redis_servers.server(tmp_path / "redis", port) as client:
        deployment = deploy(world, f"redis://127.0.0.1:{port}", tmp_path / "models")
        with deployment.serve() as service:
            client.config_set("requirepass", "right")
            client.client_kill_filter(_type="normal", skipme=True)
            reason = until(lambda: service.client.get("/readyz").json()["reason"])
            assert "it refused the user name or password, or asks for one" in reason
            assert reason.endswith("ranking from memory")
            assert service.rank(user_id="u")["items"]

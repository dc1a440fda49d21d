"""A store that refuses: one line on both sides, with the mend and without the password."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.__main__ import main as serve
from service.errors import StoreError
from service.settings import Settings
from service.store.records import RedisStore
from service.telemetry import Telemetry
from tests.integration import redis_servers
from training.cli.app import main
from training.errors import PublishError
from training.release.store import open_store

SECRET = "s3cretmarker"
MALFORMED = (
    SECRET,
    f"redis:/:{SECRET}@h",
    f"redis://:{SECRET}@:/#",
    f"redis://:{SECRET}/{SECRET}@h:6379/0",
    f"redis://:{SECRET}?x@h:6379/0",
    f"redis://:{SECRET}",
    f"redis://me:{SECRET}%@h:port",
    f"redis://h:6379/0?passwort={SECRET}",
    f"redis://:{SECRET}[@h",
    f"redis+cluster://:{SECRET}@a,,b",
    f"redis+sentinel://:{SECRET}@a",
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield host and port of a server that asks for a password."""
    port = redis_servers.free_port()
    folder = tmp_path_factory.mktemp("guarded") / "redis"
    with redis_servers.server(folder, port) as client:
        client.config_set("requirepass", "right")
        yield f"127.0.0.1:{port}"


def refusals(url: str) -> list[str]:
    """Return the messages of publishing and of the service for the store at ``url``."""

    async def read() -> None:
        settings = Settings(redis_url=SecretStr(url), store_timeout_ms=2000)
        store = RedisStore(settings, Telemetry())
        try:
            await store.ping()
            await store._mget(["a", "b", "c", "d"], "users")
        finally:
            await store.close()

    messages = []
    with pytest.raises(PublishError) as refused, open_store(url) as client:
        client.mset({"a": "1", "b": "2", "c": "3", "d": "4"})
    messages.append(str(refused.value))
    with pytest.raises(StoreError) as failed:
        asyncio.run(read())
    return [*messages, str(failed.value)]


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize("command", ["publish", "prune"])
def test_a_malformed_url_gives_one_line_without_its_password(
    url: str,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    required = {"publish": ["cp2rec", "--data", "x"], "prune": []}[command]
    monkeypatch.setattr(sys, "argv", ["training", command, *required, "--redis", url])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("error: --redis or RANK_REDIS_URL: ")
    assert SECRET not in out + err


@pytest.mark.parametrize("url", MALFORMED)
def test_the_service_does_not_show_it_either(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sys, "argv", ["service"])
    monkeypatch.setenv("RANK_REDIS_URL", url)
    assert serve() == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("RANK_REDIS_URL: ")
    assert SECRET not in out + err + caplog.text


@pytest.mark.parametrize("credentials", ["", f":{SECRET}@", f"me:{SECRET}@"])
@pytest.mark.parametrize("kind", ["redis", "redis+cluster"])
def test_a_wrong_or_missing_password_is_named(kind: str, credentials: str, guarded: str) -> None:
    for message in refusals(f"{kind}://{credentials}{guarded}"):
        assert "refused the user name or password, or asks for one" in message
        assert "percent-encode" in message
        assert SECRET not in message


def test_a_server_that_repeats_its_arguments_shows_no_password(tmp_path: Path) -> None:
    port = redis_servers.free_port()
    options = ("--rename-command", "AUTH", "LOGIN")
    with redis_servers.server(tmp_path / "redis", port, *options):
        for message in refusals(f"redis://:{SECRET}@127.0.0.1:{port}"):
            assert SECRET not in message


def test_a_user_without_rights_is_named(tmp_path: Path) -> None:
    port = redis_servers.free_port()
    with redis_servers.server(tmp_path / "redis", port) as client:
        client.acl_setuser("me", enabled=True, passwords=["+pw"], commands=["+ping"])
        for message in refusals(f"redis://me:pw@127.0.0.1:{port}"):
            assert "extend its ACL" in message


def test_a_node_of_a_cluster_asks_for_the_url_of_a_cluster(tmp_path: Path) -> None:
    with redis_servers.cluster(tmp_path / "redis") as nodes:
        for message in refusals(f"redis://127.0.0.1:{redis_servers.port_of(nodes[0])}"):
            assert "write redis+cluster://HOST:PORT,HOST:PORT" in message


def test_a_server_that_is_no_cluster_asks_for_its_url(tmp_path: Path) -> None:
    port = redis_servers.free_port()
    with redis_servers.server(tmp_path / "redis", port):
        for message in refusals(f"redis+cluster://127.0.0.1:{port}"):
            assert "it is no cluster: write redis://HOST:PORT/DB" in message

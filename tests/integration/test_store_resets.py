"""Connections to the store are reset: the next read of each kind connects anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop
from pydantic import SecretStr

from service.contract.keys import Keys
from service.contract.manifest import Spaces
from service.errors import StoreError
from service.settings import Settings
from service.store.limit import Limit
from service.store.records import RedisStore
from service.telemetry import Telemetry
from tests.chaos.tcp import FaultyWire
from tests.integration import redis_servers

KEYS = Keys("resets", Spaces(items="items", users="users", proxies="proxies"))
PATIENT = Limit(5.0)


async def _read_all(store: RedisStore) -> list[bytes | None]:
    await store.ping()
    await store.items(KEYS, ["i"])
    await store.changes(KEYS, await store.change_position(KEYS))
    return [(await store.user(KEYS, "u", PATIENT)).record for _ in range(3)]


def test_reads_after_a_reset_are_answered(tmp_path: Path) -> None:
    port = redis_servers.free_port()
    with (
        redis_servers.server(tmp_path / "redis", port) as client,
        FaultyWire(port).running() as wire,
    ):
        client.set(KEYS.user("u"), b"record")
        client.xadd(KEYS.item_changes, {"ids": "i"})
        url = SecretStr(f"redis://127.0.0.1:{wire.port}")

        async def main() -> None:
            store = RedisStore(Settings(redis_url=url, store_timeout_ms=5000), Telemetry())
            for _ in range(3):
                assert await _read_all(store) == [b"record"] * 3
                wire.reset()
                await asyncio.sleep(0.01)  # the loop sees the resets
            await store.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the service's loop
            runner.run(main())


def test_an_unknown_error_of_the_client_is_the_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    async def closed(*_: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'writelines'")

    async def main() -> None:
        store = RedisStore(Settings(), Telemetry())
        monkeypatch.setattr(store._redis, "mget", closed)
        with pytest.raises(StoreError, match="not available: AttributeError"):
            await store.items(KEYS, ["i"])
        await store.close()

    asyncio.run(main())

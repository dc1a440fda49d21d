"""Replicas hold users in memory as long as they follow what others change, and no longer."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from pydantic import SecretStr

from service.contract.feedback import history_key
from service.contract.histories import decode
from service.contract.keys import Keys
from service.contract.manifest import Spaces
from service.contract.user_changes import user_changes_key
from service.settings import Settings
from service.store.erase import erase_user
from service.store.histories import Histories
from service.store.limit import Limit
from service.store.live import LiveStore
from service.store.records import RedisStore
from service.store.user_follower import UserFollower
from service.tasks import end
from service.telemetry import Telemetry
from tests.integration import redis_servers

WAIT_S = 20.0
LAG = "rank_user_memory_lag_seconds_count"
PATIENT = Limit(5.0)


@pytest.fixture
def settings(redis_url: str) -> Settings:
    namespace = f"t{uuid.uuid4().hex[:12]}"
    with redis.Redis.from_url(redis_url) as client:  # the first entry of a stream is a gap
        client.xadd(user_changes_key(namespace), {"users": '["somebody"]'})
    url = SecretStr(f"{redis_url}?client_name={namespace}")
    return Settings(redis_url=url, namespace=namespace, store_timeout_ms=2000)


@dataclass
class Replica:
    """A store whose memory follows the changes of users."""

    settings: Settings
    telemetry: Telemetry
    store: RedisStore
    keys: Keys

    @property
    def is_followed(self) -> bool:
        return self.store.users_in_memory.is_followed

    async def items(self, user_id: str) -> list[str]:
        """Return the items of a user's stored history."""
        user = await self.store.user(self.keys, user_id, PATIENT)
        return [item for item, _ in decode(user.history or b"\x90") or []]

    async def click(self, user_id: str, item_id: str) -> None:
        now_ms = int(time.time() * 1000)
        await Histories(self.store, self.settings).add([(user_id, item_id, now_ms)])

    def count(self, name: str, **labels: str) -> float:
        self.store.users_in_memory.report()
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0

    @property
    def reads(self) -> float:
        return self.count("rank_store_seconds_count", operation="users")


@contextlib.asynccontextmanager
async def replica(settings: Settings) -> AsyncIterator[Replica]:
    telemetry = Telemetry()
    store = RedisStore(settings, telemetry)
    follower = UserFollower(settings, store.users_in_memory, telemetry)
    following = asyncio.create_task(follower.follow())
    keys = Keys(settings.namespace, Spaces(items="i", users="u1", proxies="p"))
    running = Replica(settings, telemetry, store, keys)
    try:
        await until(lambda: running.is_followed)
        yield running
    finally:
        await end([following], WAIT_S)
        await follower.close()
        await store.close()


async def until(probe: Callable[[], Any]) -> None:
    """Wait until a state is seen that only others change."""
    async with asyncio.timeout(WAIT_S):
        while not probe():  # noqa: ASYNC110  # it is seen from outside
            await asyncio.sleep(0.002)


async def until_items(reader: Replica, user_id: str, expected: list[str]) -> float:
    """Read a user until the history is ``expected``; return the seconds that took."""
    begun_s = time.monotonic()
    async with asyncio.timeout(WAIT_S):
        while await reader.items(user_id) != expected:  # noqa: ASYNC110  # seen from outside
            await asyncio.sleep(0.002)
    return time.monotonic() - begun_s


def test_a_user_is_read_once_until_another_replica_changes_it(settings: Settings) -> None:
    async def main() -> None:
        async with replica(settings) as one, replica(settings) as other:
            await one.click("u", "a")
            await until_items(other, "u", ["a"])
            await until(lambda: other.count(LAG) == 1)
            await other.items("u")
            await other.items("cold")
            reads = other.reads
            for _ in range(5):
                assert await other.items("u") == ["a"]
                assert await other.items("cold") == []  # that there is nothing is held too
            assert other.reads == reads
            assert await one.items("u") == ["a"]
            await one.click("u", "b")
            assert await one.items("u") == ["a", "b"]  # its own change at once
            await one.click("cold", "c")
            await until_items(other, "u", ["a", "b"])
            await until_items(other, "cold", ["c"])
            assert other.count(LAG) >= 2

    asyncio.run(main())


def test_a_deleted_user_is_forgotten_by_others(settings: Settings) -> None:
    async def main() -> None:
        async with replica(settings) as one, replica(settings) as other:
            await one.click("u", "a")
            await until(lambda: one.count(LAG) == other.count(LAG) == 1)
            assert await one.items("u") == await other.items("u") == ["a"]
            live = LiveStore(settings, one.telemetry, one.store.users_in_memory)
            erased = await erase_user(live, settings.namespace, [one.keys], "u")
            assert erased.histories == 1
            assert await one.items("u") == []
            await until_items(other, "u", [])
            await live.close()

    asyncio.run(main())


def test_after_a_gap_memory_begins_anew(settings: Settings) -> None:
    async def main() -> None:
        async with replica(settings) as one:
            await one.click("u", "a")
            await until(lambda: one.count(LAG) == 1)
            await until_items(one, "u", ["a"])
            url = settings.redis_url.get_secret_value()
            stream = user_changes_key(settings.namespace)
            with redis.Redis.from_url(url) as client:
                pipeline = client.pipeline(transaction=True)  # a change whose entry is trimmed
                history = msgspec.msgpack.encode([("b", 1)])
                pipeline.set(history_key(settings.namespace, "u"), history)
                pipeline.xadd(stream, {"users": '["another"]'}, maxlen=1, approximate=False)
                pipeline.execute()
            await until_items(one, "u", ["b"])
            await until(lambda: one.is_followed)

    asyncio.run(main())


def test_a_lost_connection_empties_memory_until_it_is_followed_again(settings: Settings) -> None:
    url = settings.redis_url.get_secret_value()

    async def main() -> None:
        async with replica(settings) as one:
            await one.items("u")
            assert len(one.store.users_in_memory) == 1
            with redis.Redis.from_url(url) as client:
                client.set(history_key(settings.namespace, "u"), msgspec.msgpack.encode([("b", 1)]))
                assert await one.items("u") == []  # nobody has announced it
                for connection in client.client_list():
                    if (connection["name"], connection["cmd"]) == (settings.namespace, "xread"):
                        client.client_kill(connection["addr"])
            await until(lambda: not one.is_followed)
            assert len(one.store.users_in_memory) == 0
            assert await one.items("u") == ["b"]
            assert len(one.store.users_in_memory) == 0  # it is off
            await until(lambda: one.is_followed)
            await one.items("u")
            assert len(one.store.users_in_memory) == 1

    asyncio.run(main())


def test_a_read_that_began_before_a_change_leaves_nothing_old(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with replica(settings) as one, replica(settings) as other:
            await one.click("u", "a")
            await until(lambda: other.count(LAG) == 1)
            answered, go_on = asyncio.Event(), asyncio.Event()
            get = other.store._users.get

            async def slow(*arguments: Any) -> Any:
                stored = await get(*arguments)
                answered.set()
                await go_on.wait()
                return stored

            monkeypatch.setattr(other.store._users, "get", slow)
            reading = asyncio.create_task(other.items("u"))
            await answered.wait()
            await one.click("u", "b")
            await until(lambda: other.count(LAG) == 2)
            go_on.set()
            assert await reading == ["a"]  # what the store had when it was asked
            assert await other.items("u") == ["a", "b"]

    asyncio.run(main())


def test_changes_are_seen_within_a_second_under_load(settings: Settings) -> None:
    async def main() -> None:
        waits = []
        async with replica(settings) as one, replica(settings) as other:

            async def load(number: int) -> None:
                while True:
                    await other.items(f"of-load-{number}")
                    await one.click(f"of-load-{number}", "a")

            tasks = [asyncio.create_task(load(number)) for number in range(8)]
            for number in range(40):
                user_id, item_id = f"u{number % 4}", f"i{number}"
                before = await other.items(user_id)
                await one.click(user_id, item_id)
                waits.append(await until_items(other, user_id, [*before, item_id]))
            await end(tasks, WAIT_S)
            assert other.count("rank_user_memory_reads_total", result="hit") > 0
        assert sorted(waits)[-1] < 1.0

    asyncio.run(main())


def test_a_store_that_cannot_be_followed_is_read(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = redis_servers.free_port()
    with redis_servers.server(tmp_path / "redis", port) as client:
        client.execute_command("ACL SETUSER default -xread")
        url = SecretStr(f"redis://127.0.0.1:{port}")

        async def main() -> None:
            telemetry = Telemetry()
            refused = settings.model_copy(update={"redis_url": url})
            store = RedisStore(refused, telemetry)
            follower = UserFollower(refused, store.users_in_memory, telemetry)
            following = asyncio.create_task(follower.follow())
            await until(lambda: "cannot follow changes of users" in caplog.text)
            keys = Keys(settings.namespace, Spaces(items="i", users="u1", proxies="p"))
            for _ in range(2):
                assert (await store.user(keys, "u", PATIENT)).record is None
            assert len(store.users_in_memory) == 0
            state = telemetry.registry.get_sample_value("rank_store_breaker_state")
            assert state == 0  # rankings go on
            await end([following], WAIT_S)
            await follower.close()
            await store.close()

        asyncio.run(main())

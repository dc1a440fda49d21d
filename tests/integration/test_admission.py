"""Rankings for clients that left, and the time that counts against a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import msgspec
import pytest

from service.store.records import RedisStore
from service.store.user_memory import StoredUser
from tests.conftest import World
from tests.integration.conftest import Running, until
from tests.integration.service.api.conftest import port_of
from tests.integration.service.api.wire import connected, get, post

SCORED = 'rank_stage_seconds_count{stage="score"}'
GONE = 'rank_http_request_seconds_count{route="/rank",status="499"}'
CLIENTS = 20


@pytest.mark.parametrize("candidates", [True, False])
def test_clients_that_left_while_redis_was_read_are_not_scored(
    service: Running, world: World, monkeypatch: pytest.MonkeyPatch, candidates: bool
) -> None:
    reading: list[asyncio.AbstractEventLoop] = []
    go_on = asyncio.Event()
    read = RedisStore.user

    async def held(self: RedisStore, *arguments: Any) -> StoredUser:
        reading.append(asyncio.get_running_loop())
        await go_on.wait()
        return await read(self, *arguments)

    body: dict[str, Any] = {"user_id": world.dataset.user_ids[0]}
    if candidates:
        body |= {"candidates": world.dataset.item_ids[:20]}
    scored, gone = service.metric(SCORED), service.metric(GONE)
    monkeypatch.setattr(RedisStore, "user", held)
    with contextlib.ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(connected(port_of(service))).send(post(msgspec.json.encode(body)))
        until(lambda: len(reading) == CLIENTS)
    reading[0].call_soon_threadsafe(go_on.set)
    until(lambda: service.metric(GONE) == gone + CLIENTS)
    assert service.metric(SCORED) == scored


def test_a_deadline_counts_from_the_first_byte(service: Running) -> None:
    body = {"user_id": "not in memory", "top_k": 1, "deadline_ms": 200}
    request = post(msgspec.json.encode(body))
    with connected(port_of(service)) as wire, connected(port_of(service)) as other:
        wire.send(request[:-1])
        assert other.ask(get("/livez")).status == 200  # the service has read the first bytes
        time.sleep(0.2)
        answer = wire.ask(request[-1:])
    assert (answer.status, answer.json["degraded"]) == (200, ["deadline"])

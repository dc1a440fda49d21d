"""The Python client against a real service, and against failures that a real one has."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from clients.python import paretorank_client
from clients.python.paretorank_client import (
    AsyncClient,
    Client,
    Event,
    RankedItem,
    RankError,
    RankOptions,
)
from service.access.keys import add
from service.live import messages
from service.ranking.messages import RankRequest, RankResponse, Target
from service.settings import Settings
from tests.integration.conftest import Running, running

POOL = ["i0001", "i0002", "new"]


@pytest.fixture(scope="module")
def client(service: Running) -> Iterator[Client]:
    with Client(str(service.client.base_url)) as client:
        yield client


class Script:
    """A transport that gives prepared answers, one a request, and notes the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def deadlines_ms(self) -> list[float]:
        return [msgspec.json.decode(request.content)["deadline_ms"] for request in self.requests]

    def client(self, **options: Any) -> Client:
        return Client("http://service", transport=httpx.MockTransport(self), **options)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses of a client, whose clock moves on by them at once."""
    taken: list[float] = []

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return sum(taken)

        @staticmethod
        def sleep(seconds: float) -> None:
            taken.append(seconds)

    monkeypatch.setattr(paretorank_client, "time", Clock)
    return taken


def _busy(retry_after: str = "1") -> httpx.Response:
    error = {"code": "overloaded", "message": "wait", "field": None, "request_id": "r"}
    return httpx.Response(503, json={"error": error}, headers={"Retry-After": retry_after})


def test_it_has_every_field_of_the_api() -> None:
    sent = set(RankRequest.__struct_fields__) - {"user_id", "format"}
    assert set(RankOptions.__annotations__) == sent
    answered = set(RankResponse.__struct_fields__)
    assert set(paretorank_client.Ranking.__annotations__) == answered
    for ours, theirs in (
        (paretorank_client.PutItem, messages.PutItem),
        (paretorank_client.ItemsChanged, messages.ItemsChanged),
        (paretorank_client.UserDeleted, messages.UserDeleted),
        (paretorank_client.Target, Target),
    ):
        assert set(ours.__annotations__) == set(theirs.__struct_fields__)


def test_it_ranks(client: Client, service: Running) -> None:
    ranking = client.rank("u0000", candidates=tuple(POOL), tradeoff=0.25, explain=True, titles=True)
    body = {"user_id": "u0000", "candidates": POOL, "tradeoff": 0.25}
    expected = service.rank(**body, explain=True, titles=True)
    assert ranking["items"] == expected["items"]
    assert (ranking["model"], ranking["tradeoff"]) == ("toy@1", 0.25)
    assert {name for item in ranking["items"] for name in item} <= set(RankedItem.__annotations__)


def test_the_async_client_ranks_many_at_once(service: Running, client: Client) -> None:
    async def rank_all() -> list[Any]:
        async with AsyncClient(str(service.client.base_url)) as client:
            users = [f"u{number:04}" for number in range(8)]
            return await asyncio.gather(*(client.rank(user, top_k=3) for user in users))

    rankings = asyncio.run(rank_all())
    assert [r["items"] for r in rankings[:2]] == [
        client.rank(user, top_k=3)["items"] for user in ("u0000", "u0001")
    ]


def test_the_models_are_listed(client: Client) -> None:
    assert [model["name"] for model in client.models()] == ["toy"]


def test_the_request_id_is_in_answers_and_errors(client: Client) -> None:
    assert client.rank("u0000", request_id="mine")["request_id"] == "mine"
    with pytest.raises(
        RankError, match=r"^invalid_request: tradeoff: .* \(request mine\)$"
    ) as error:
        client.rank("u0000", tradeoff=3, request_id="mine")
    assert (error.value.status, error.value.field) == (422, "tradeoff")


def test_the_key_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = add(path, "feed", frozenset({"rank"}))
    settings = Settings(models_dir=tmp_path, access="keys", keys_file=path)
    with running(settings) as service:  # without a model
        for api_key, code in ((key, "not_ready"), (None, "unauthorized")):
            with (
                Client(str(service.client.base_url), api_key=api_key, retries=0) as client,
                pytest.raises(RankError, match=code),
            ):
                client.rank("u")


def test_a_503_is_tried_again_after_its_time(pauses: list[float]) -> None:
    script = Script(_busy(), _busy(), httpx.Response(200, json={"items": []}))
    with script.client() as client:
        assert client.rank("u")["items"] == []
    assert len(script.requests) == 3
    assert all(1 <= pause <= 1.5 for pause in pauses)
    assert len(set(pauses)) == 2
    assert len({request.headers["X-Request-ID"] for request in script.requests}) == 1


@pytest.mark.usefixtures("pauses")
def test_it_gives_up_after_its_retries() -> None:
    script = Script(*[_busy()] * 3)
    with script.client(retries=1) as client, pytest.raises(RankError) as error:
        client.rank("u")
    assert len(script.requests) == 2
    assert (error.value.code, error.value.retry_after_s) == ("overloaded", 1)


def test_it_never_pauses_beyond_the_deadline(pauses: list[float]) -> None:
    script = Script(_busy(), _busy())
    with script.client() as client, pytest.raises(RankError, match="overloaded"):
        client.rank("u", deadline_ms=900)
    assert (len(script.requests), pauses) == (1, [])


def test_the_service_gets_what_is_left_of_the_deadline(pauses: list[float]) -> None:
    script = Script(_busy(), httpx.Response(200, json={"items": []}))
    with script.client() as client:
        client.rank("u", deadline_ms=4000)
    first, second = script.deadlines_ms
    assert first == pytest.approx(3200)
    assert second == pytest.approx(0.8 * (4000 - 1000 * pauses[0]))
    timeouts = [request.extensions["timeout"]["read"] for request in script.requests]
    assert timeouts == pytest.approx([4, 4 - pauses[0]])


@pytest.mark.parametrize("status", [200, 400, 404, 422, 429, 500])
def test_other_answers_are_not_tried_again(status: int) -> None:
    script = Script(httpx.Response(status, text="a proxy's page"))
    with script.client() as client, pytest.raises(RankError) as error:
        client.rank("u")
    assert (error.value.code, error.value.status) == ("no_answer", status)


def test_a_failed_connection_is_tried_again(pauses: list[float]) -> None:
    lost = httpx.RemoteProtocolError("closed")
    script = Script(httpx.ConnectError("refused"), lost, httpx.Response(200, json={"items": []}))
    with script.client() as client:
        assert client.rank("u")["items"] == []
    assert pauses[0] <= 0.05
    assert pauses[1] <= 0.1


def test_a_closed_service_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(RankError) as error:
        client.rank("u")
    assert (error.value.code, error.value.status) == ("unreachable", None)


def test_a_silent_service_costs_no_more_than_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and never answers
        port = listener.getsockname()[1]
        with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(RankError) as error:
            client.rank("u", deadline_ms=100)
    assert error.value.code == "timeout"


def test_the_async_client_tries_again() -> None:
    async def rank() -> Any:
        script = Script(httpx.ConnectError("refused"), httpx.Response(200, json={"items": [1]}))
        transport = httpx.MockTransport(script)
        async with AsyncClient("http://service", transport=transport) as client:
            return await client.rank("u")

    assert asyncio.run(rank())["items"] == [1]


def test_the_async_client_changes_items() -> None:
    done = {"request_id": "r", "models": ["toy@1"], "changed": 1, "unknown": []}
    script = Script(*(httpx.Response(200, json=done) for _ in range(4)))

    async def change() -> None:
        transport = httpx.MockTransport(script)
        async with AsyncClient("http://service", transport=transport) as client:
            await client.put_items([{"item_id": "i", "vectors": {"image": (0.5, 1)}}])
            await client.patch_proxies({"i": {"clicks_7d": 3.0}})
            await client.delete_items(("i",))
            await client.delete_user("a/b c")

    asyncio.run(change())
    sent = [
        (r.method, r.url.raw_path, r.content and json.loads(r.content)) for r in script.requests
    ]
    item = {"item_id": "i", "vectors": {"image": [0.5, 1]}}
    assert sent == [
        ("PUT", b"/items", {"items": [item]}),
        ("PATCH", b"/items/proxies", {"items": [{"item_id": "i", "proxies": {"clicks_7d": 3.0}}]}),
        ("DELETE", b"/items", {"item_ids": ["i"]}),
        ("DELETE", b"/users/a%2Fb%20c", b""),
    ]


EVENT: Event = {"request_id": "r1", "item_id": "i0001", "kind": "click"}


def test_events_are_sent_in_batches_and_a_retry_is_the_same(pauses: list[float]) -> None:
    answers = [
        httpx.Response(202, json={"accepted": 1000, "errors": []}),
        _busy("0"),
        httpx.Response(
            202, json={"accepted": 0, "errors": [{"index": 0, "field": "kind", "message": "bad"}]}
        ),
    ]
    script = Script(*answers)
    with script.client() as client:
        refused = client.events([EVENT] * 1001)
    assert refused == [{"index": 1000, "field": "kind", "message": "bad"}]
    bodies = [msgspec.json.decode(request.content) for request in script.requests]
    assert [len(body) for body in bodies] == [1000, 1, 1]
    assert bodies[1] == bodies[2]
    assert bodies[0][0]["time"] == bodies[1][0]["time"]
    assert len(pauses) == 1


def test_events_reach_the_service(client: Client, service: Running) -> None:
    async def send() -> list[Any]:
        async with AsyncClient(str(service.client.base_url)) as client:
            return await client.events([{**EVENT, "value": 1e12}, EVENT])

    before = service.metric('rank_events_total{result="accepted"}')
    assert client.events([]) == []
    assert client.events([EVENT, {**EVENT, "kind": "play", "value": 3.5}]) == []
    assert [(error["index"], error["field"]) for error in asyncio.run(send())] == [(0, "value")]
    assert service.metric('rank_events_total{result="accepted"}') == before + 3

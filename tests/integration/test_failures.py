"""Redis, a model or a client fails: rankings go on and name what they lack."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from pydantic import SecretStr

from service.contract.repository import Repository
from service.errors import StoreError
from service.store.records import RedisStore
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy, until
from training.demo.local_redis import private_redis


@pytest.fixture
def private_store() -> Iterator[str]:
    """Return the URL of a Redis that a test may stop or stall."""
    with private_redis() as url:
        yield url


def test_a_stalled_store_degrades_within_its_timeout(
    world: World, private_store: str, tmp_path: Path
) -> None:
    deployment = deploy(world, private_store, tmp_path / "models", store_timeout_ms=150)
    user_id = world.dataset.user_ids[0]
    with deployment.serve() as service:
        deployment.redis.execute_command("CLIENT PAUSE", 60_000)
        answer = service.rank(user_id=user_id, candidates=world.dataset.item_ids[:5])
        assert answer["degraded"] == ["store_unavailable"]
        assert len(answer["items"]) == 5
        assert answer["timing_ms"]["user"] < 1500
        # The service stays ready: rankings from memory are better than none.
        readiness = service.client.get("/readyz")
        assert (readiness.status_code, readiness.json()["status"]) == (200, "ok")
        assert "ranking from memory" in readiness.json()["reason"]
        assert service.client.get("/livez").status_code == 200


def test_a_store_that_stays_stalled_is_not_waited_for_by_each_request(
    world: World, private_store: str, tmp_path: Path
) -> None:
    deployment = deploy(world, private_store, tmp_path / "models", store_timeout_ms=200)
    user_id = world.dataset.user_ids[0]
    with deployment.serve() as service:
        deployment.redis.execute_command("CLIENT PAUSE", 6_000)
        until(lambda: service.rank(user_id=user_id) and service.metric("rank_store_breaker_state"))
        waits = []
        for _ in range(20):
            answer = service.rank(user_id=user_id)
            assert answer["degraded"] == ["store_unavailable"]
            waits.append(answer["timing_ms"]["user"])
        assert sorted(waits)[10] < 100  # all but the probes
        until(lambda: service.rank(user_id=user_id)["degraded"] == [])
        assert service.metric("rank_store_breaker_state") == 0
        assert service.metric("rank_store_breaker_opened_total") >= 1


def test_short_deadlines_do_not_open_the_breaker(
    world: World, private_store: str, tmp_path: Path
) -> None:
    deployment = deploy(world, private_store, tmp_path / "models", store_timeout_ms=30_000)
    with deployment.serve() as service:
        deployment.redis.execute_command("CLIENT PAUSE", 60_000)
        for _ in range(5):
            answer = service.rank(user_id=world.dataset.user_ids[0], deadline_ms=20)
            assert answer["degraded"] == ["deadline"]
        assert service.metric("rank_store_breaker_state") == 0


def test_a_deadline_cuts_the_wait_for_a_stalled_store(
    world: World, private_store: str, tmp_path: Path
) -> None:
    deployment = deploy(world, private_store, tmp_path / "models", store_timeout_ms=30_000)
    with deployment.serve() as service:
        deployment.redis.execute_command("CLIENT PAUSE", 60_000)
        answer = service.rank(user_id=world.dataset.user_ids[0], deadline_ms=30, top_k=3)
    assert answer["degraded"] == ["deadline"]
    assert len(answer["items"]) == 3
    assert 25 < answer["timing_ms"]["user"] < 5_000


def test_a_store_that_comes_back_is_used_again(world: World, tmp_path: Path) -> None:
    user_id = world.dataset.user_ids[0]
    body = {"user_id": user_id, "candidates": world.dataset.item_ids[:9], "tradeoff": 0.5}
    with contextlib.ExitStack() as first:
        url = first.enter_context(private_redis(tmp_path))
        # Users in memory would be ranked by for a second.
        deployment = deploy(world, url, tmp_path / "models", user_memory=False)
        with deployment.serve() as service:
            before = service.rank(**body)
            first.close()
            down = service.rank(**body)
            assert down["degraded"] == ["store_unavailable"]
            assert {i["item_id"] for i in down["items"]} == {i["item_id"] for i in before["items"]}
            with private_redis(tmp_path):
                # The new store is empty: the user is unknown, the items are still in memory.
                reason = f"the store has lost {len(world.dataset.item_ids)} items of toy@1"
                until(lambda: reason in (service.client.get("/readyz").json()["reason"] or ""))
                answer = service.rank(**body)
                assert answer["degraded"] == ["lost_items", "unknown_user"]
                assert "missing" not in {item["status"] for item in answer["items"]}


def test_connections_that_the_store_closed_are_opened_again(
    world: World, private_store: str, tmp_path: Path
) -> None:
    deployment = deploy(world, private_store, tmp_path / "models", user_memory=False)
    body = {"user_id": world.dataset.user_ids[0], "candidates": world.dataset.item_ids[:9]}
    with deployment.serve() as service:
        before = service.rank(**body)
        for _ in range(3):
            assert deployment.redis.client_kill_filter(_type="normal", skipme=True) > 0
            again = service.rank(**body)
            assert (again["items"], again["degraded"]) == (before["items"], [])


def test_user_reads_leave_connections_to_others(
    world: World, private_store: str, tmp_path: Path
) -> None:
    deployment = deploy(world, private_store, tmp_path / "models", store_connections=1)
    user_id = world.dataset.user_ids[0]
    with deployment.serve() as service:
        for number in range(3):
            answer = service.rank(user_id=user_id, candidates=[f"new-{number}"])
            assert answer["degraded"] == []


@pytest.mark.parametrize("read", ["candidates", "history"])
def test_a_failed_item_read_does_not_hide_that_the_user_is_unknown(
    deployment: Deployment, world: World, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    async def failing(*_: object) -> None:
        raise StoreError("cut")

    held = world.dataset.item_ids[0]
    body: dict[str, Any] = {"user_id": "nobody", "candidates": [held], read: ["new"]}
    with deployment.serve() as service:
        monkeypatch.setattr(RedisStore, "items", failing)
        assert service.rank(**body)["degraded"] == ["store_unavailable", "unknown_user"]
        # A store that fails cannot say that a user is unknown.
        monkeypatch.setattr(RedisStore, "user", failing)
        assert service.rank(**body)["degraded"] == ["store_unavailable"]


def test_requests_for_items_not_in_memory_wait_no_longer_than_the_timeout(
    world: World, private_store: str, tmp_path: Path
) -> None:
    deployment = deploy(world, private_store, tmp_path / "models", store_timeout_ms=300)
    with deployment.serve() as service:
        url = service.client.base_url.join("/rank")
        deployment.redis.execute_command("CLIENT PAUSE", 60_000)
        answers: list[dict[str, Any]] = []

        def ask(number: int) -> None:
            body = {"user_id": "u", "candidates": [f"new-{number}", world.dataset.item_ids[0]]}
            answers.append(httpx.post(url, json=body, timeout=60).json())

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 30
    for answer in answers:
        assert answer["degraded"] == ["store_unavailable"]
        # Two waits, one after the other: for the item and for the user.
        assert answer["timing_ms"]["user"] + answer["timing_ms"]["catalog"] < 2_000
        assert [item["status"] for item in answer["items"]][1] == "missing"


def test_an_unknown_error_does_not_stop_the_watch_for_models(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([OSError("disk on fire"), RuntimeError("anything")])
    folders = Repository.folders

    def failing(self: Repository) -> list[str]:
        if (error := next(errors, None)) is not None:
            raise error
        return folders(self)

    monkeypatch.setattr(Repository, "folders", failing)
    with deployment.serve() as service:  # ready in spite of two failed reads
        assert service.rank(user_id="u")["model"] == "toy@1"
    assert next(errors, None) is None


def test_an_unknown_error_shows_its_request_id_alone(
    service: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(service.app.state.ranker, "rank", broken)
    response = service.client.post("/rank", json={"user_id": "u"})
    assert response.status_code == 500
    error = response.json()["error"]
    assert error["code"] == "internal"
    assert len(error["request_id"]) == 32
    assert "secret" not in response.text
    (record,) = until(lambda: caplog.records)  # written after the answer
    assert error["request_id"] in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_a_client_that_leaves_early_disturbs_no_other(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = service.client.base_url.host, service.client.base_url.port
    assert port is not None
    with socket.create_connection((host, port)) as connection:
        connection.sendall(b"POST /rank HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    assert service.rank(user_id="u")["items"]
    until(lambda: service.metric('rank_http_request_seconds_count{route="/rank",status="499"}') > 0)
    assert not caplog.records  # the fault is the client's


def test_many_requests_at_once_get_the_answers_of_one_at_a_time(
    service: Running, world: World
) -> None:
    bodies = [{"user_id": user_id, "tradeoff": 0.3} for user_id in world.dataset.user_ids[:24]]
    alone = [service.ids(**body) for body in bodies]
    together: list[list[str]] = [[] for _ in bodies]

    def ask(index: int) -> None:
        together[index] = service.ids(**bodies[index])

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_open_requests_are_finished_at_shutdown(
    world: World, private_store: str, tmp_path: Path
) -> None:
    deployment = deploy(world, private_store, tmp_path / "models", store_timeout_ms=30_000)
    answers: list[httpx.Response] = []

    def ask(url: httpx.URL) -> None:
        body = {"user_id": world.dataset.user_ids[0]}
        answers.append(httpx.post(url.join("/rank"), json=body, timeout=20))

    with deployment.serve() as service:
        deployment.redis.execute_command("CLIENT PAUSE", 700)
        asking = threading.Thread(target=ask, args=(service.client.base_url,))
        asking.start()
        # Two: the ranking and this request for the metrics.
        until(lambda: service.metric("rank_http_requests_in_flight") == 2)
    asking.join()
    assert answers[0].status_code == 200
    assert answers[0].json()["degraded"] == []


def test_wrong_paths_and_methods_have_the_one_error_body(service: Running) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("GET", "/rank", 405)):
        response = service.client.request(method, path)
        assert response.status_code == status
        assert set(response.json()["error"]) == {"code", "message", "field", "request_id"}
        assert response.headers["content-type"] == "application/json"


def test_a_redis_url_with_a_password_is_never_shown(deployment: Deployment) -> None:
    settings = deployment.settings.model_copy(
        update={"redis_url": SecretStr("redis://:hunter2@127.0.0.1:1/0")}
    )
    assert "hunter2" not in repr(settings)
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(settings.redis_url.get_secret_value()).ping()

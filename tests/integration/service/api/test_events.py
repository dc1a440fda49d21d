"""``POST /events``: valid events are in the stream before the answer, others are named."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from service.access.keys import add
from service.contract.feedback import RECORD, Event, decode_event, events_key, history_key
from service.contract.histories import decode
from service.settings import Settings
from tests.integration.conftest import Running, running
from tests.integration.service.api.conftest import Edge

VALID = {"request_id": "r1", "item_id": "i1", "kind": "click"}
NOBODY = SecretStr("redis://127.0.0.1:1/0")


class Feed:
    """A service without models, its streams and its histories."""

    def __init__(self, service: Running, settings: Settings) -> None:
        self.service = service
        self.namespace = settings.namespace
        self.redis = redis.Redis.from_url(settings.redis_url.get_secret_value())

    def send(self, *events: Any) -> dict[str, Any]:
        response = self.service.client.post("/events", json=events)
        assert response.status_code == 202, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def events(self) -> list[Event]:
        entries: Any = self.redis.xrange(events_key(self.namespace))
        return [decode_event(fields[RECORD]) for _, fields in entries]


@pytest.fixture(scope="module")
def serving(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, Settings]]:
    settings = Settings(
        models_dir=tmp_path_factory.mktemp("no-models"),
        redis_url=SecretStr(redis_url),
        namespace=f"t{uuid.uuid4().hex[:12]}",
        store_timeout_ms=2000,
        event_age_s=3600,
    )
    with running(settings) as service:
        yield service, settings


@pytest.fixture
def feed(serving: tuple[Running, Settings]) -> Feed:
    feed = Feed(*serving)
    feed.redis.delete(events_key(feed.namespace))
    return feed


def test_events_are_in_the_stream_before_the_answer(feed: Feed) -> None:
    before_ms = time.time() * 1000
    liked = {**VALID, "kind": "like", "value": 0.5, "time": dt.datetime.now(dt.UTC).isoformat()}
    assert feed.send(VALID, liked, VALID) == {"accepted": 3, "errors": []}
    first, second, _ = feed.events()
    assert (first.request_id, first.item_id, first.kind, first.value) == ("r1", "i1", "click", 1.0)
    assert (second.kind, second.value, second.user_id) == ("like", 0.5, None)
    for event in (first, second):
        assert before_ms - 1 <= event.time_ms <= time.time() * 1000 + 1
    assert feed.service.metric('rank_events_total{result="accepted"}') >= 3
    assert feed.service.metric('rank_http_request_seconds_count{route="/events",status="202"}')


def _at(seconds: float) -> str:
    return (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).isoformat()


BAD: list[tuple[Any, str | None, str]] = [
    ({"item_id": "i1", "kind": "click"}, "request_id", "missing required field"),
    ({**VALID, "item_id": ""}, "item_id", "length >= 1"),
    ({**VALID, "item_id": 7}, "item_id", "Expected `str`"),
    ({**VALID, "kind": "Click!"}, "kind", "matching regex"),
    ({**VALID, "value": 1e10}, "value", "<= 1000000000.0"),
    ({**VALID, "position": 3}, "position", "unknown field"),
    ({**VALID, "time": 1790000000}, "time", "Expected `datetime | null`"),
    ({**VALID, "time": "2027-01-31T10:00:00"}, "time", "timezone"),
    ({**VALID, "time": _at(3600)}, "time", "is in the future"),
    ({**VALID, "time": _at(-2 * 3600)}, "time", "is more than 3600 s ago"),
    ("click", "body", "Expected `object`"),
]


def test_what_is_not_valid_is_named_and_the_rest_is_taken(feed: Feed) -> None:
    refused = feed.service.metric('rank_events_total{result="refused"}')
    answer = feed.send(VALID, *(event for event, *_ in BAD), VALID)
    assert answer["accepted"] == len(feed.events()) == 2
    assert [error["index"] for error in answer["errors"]] == list(range(1, len(BAD) + 1))
    for error, (_, field, message) in zip(answer["errors"], BAD, strict=True):
        assert error["field"] == field
        assert message in error["message"]
    assert feed.service.metric('rank_events_total{result="refused"}') == refused + len(BAD)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"[{]", b"\xff", b"[" + b"1," * 1000 + b"1]"])
def test_a_body_that_is_no_list_is_refused(feed: Feed, body: bytes) -> None:
    response = feed.service.client.post("/events", content=body)
    assert (response.status_code, response.json()["error"]["field"]) == (422, "body")
    assert feed.events() == []


def test_a_beacon_sends_plain_text(feed: Feed) -> None:
    content = b'[{"request_id": "r1", "item_id": "i1", "kind": "view"}]'
    headers = {"Content-Type": "text/plain;charset=UTF-8"}
    response = feed.service.client.post("/events", content=content, headers=headers)
    assert response.status_code == 202
    assert [event.kind for event in feed.events()] == ["view"]


def test_an_engagement_is_added_to_the_users_history(feed: Feed) -> None:
    seen = [{**VALID, "item_id": f"i{n}", "user_id": "u7", "time": _at(-10 + n)} for n in (3, 1, 2)]
    feed.send(*seen, {**seen[0], "item_id": "i9", "kind": "view"}, {**VALID, "item_id": "i8"})
    stored: Any = feed.redis.get(history_key(feed.namespace, "u7"))
    history = decode(stored)
    assert history is not None
    assert [item_id for item_id, _ in history] == ["i1", "i2", "i3"]


def test_without_a_store_nothing_is_acknowledged(edge: Edge) -> None:
    with edge(redis_url=NOBODY) as (service, _):
        response = service.client.post("/events", json=[VALID])
        assert (response.status_code, response.json()["error"]["code"]) == (
            503,
            "store_unavailable",
        )
        assert response.headers["Retry-After"] == "1"
        assert service.metric('rank_events_total{result="accepted"}') == 0


def test_beyond_the_queue_events_are_turned_away(feed: Feed) -> None:
    event_log = feed.service.app.state.events
    event_log._open = event_log._limit
    try:
        response = feed.service.client.post("/events", json=[VALID])
    finally:
        event_log._open = 0
    assert (response.status_code, response.json()["error"]["code"]) == (503, "overloaded")
    assert feed.service.metric('rank_shed_total{queue="events"}') == 1
    assert feed.events() == []


def test_it_needs_a_key_with_the_scope_feedback(edge: Edge, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = [add(path, "feed", frozenset({"rank"})), add(path, "beacon", frozenset({"feedback"}))]
    with edge(access="keys", keys_file=path, redis_url=NOBODY) as (service, _):
        post = service.client.post
        statuses = [
            post("/events", json=[VALID], headers={"X-API-Key": key}).status_code for key in keys
        ]
        assert statuses == [403, 503]
        assert post("/events", json=[VALID]).status_code == 401

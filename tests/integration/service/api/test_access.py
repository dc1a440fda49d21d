"""Keys, scopes and rates over real HTTP."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from service.access import guard
from service.access.keys import add, remove
from service.contract.files import write_atomically
from tests.integration.conftest import Running, until
from tests.integration.service.api.conftest import Edge, port_of
from tests.integration.service.api.wire import RANK, connected

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
ADMIN = ("/models", "/metrics", "/docs", "/docs-assets/swagger-ui.css", "/openapi.json")


@dataclass(frozen=True)
class Guarded:
    service: Running
    path: Path
    keys: dict[str, str]

    def get(self, path: str, name: str) -> httpx.Response:
        return self.service.client.get(path, headers={"X-API-Key": self.keys[name]})

    def rank(self, key: str | None = None, **headers: str) -> httpx.Response:
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return self.service.client.post("/rank", json={"user_id": "u"}, headers=headers)

    def count(self, name: str, result: str) -> float:
        (value,) = [
            float(line.split()[-1])
            for line in self.get("/metrics", "operator").text.splitlines()
            if line.startswith(f'rank_access_total{{key="{name}",result="{result}"}} ')
        ] or [0.0]
        return value


@pytest.fixture(scope="module")
def guarded(edge: Edge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    keys = {
        "feed": add(path, "feed", frozenset({"rank"})),
        "operator": add(path, "operator", frozenset({"admin"})),
        "old": add(path, "old", frozenset({"rank"}), LONG_AGO),
        "limited": add(path, "limited", frozenset({"rank"}), rate="3/hour"),
    }
    with edge(access="keys", keys_file=path, keys_poll_s=0.05) as (service, _):
        yield Guarded(service, path, keys)


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_a_key_is_let_in(guarded: Guarded, header: str) -> None:
    before = guarded.count("feed", "admitted")
    scheme = "Bearer " if header == "Authorization" else ""
    answer = guarded.rank(**{header: scheme + guarded.keys["feed"]})
    assert answer.status_code == 200
    assert "ratelimit" not in answer.headers
    assert guarded.count("feed", "admitted") == before + 1


@pytest.mark.parametrize(
    ("key", "name", "result", "challenge"),
    [
        (None, "", "no_key", "Bearer"),
        ("wrong", "", "unknown_key", 'Bearer error="invalid_token"'),
        ("pr_feed_" + "x" * 43, "", "unknown_key", 'Bearer error="invalid_token"'),
        ("pr_feed_" + "x" * 4000, "", "unknown_key", 'Bearer error="invalid_token"'),
        ("old", "old", "expired", 'Bearer error="invalid_token"'),
    ],
)
def test_without_a_valid_key_it_is_401(
    guarded: Guarded, key: str | None, name: str, result: str, challenge: str
) -> None:
    before = guarded.count(name, result)
    answer = guarded.rank(guarded.keys.get(key or "", key))
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert answer.headers["www-authenticate"] == challenge
    assert guarded.count(name, result) == before + 1


def test_a_scope_that_lacks_is_named(guarded: Guarded) -> None:
    answer = guarded.get("/metrics", "feed")
    assert answer.status_code == 403
    assert answer.json()["error"]["message"] == "the key feed lacks the scope admin"
    assert 'error="insufficient_scope", scope="admin"' in answer.headers["www-authenticate"]
    assert guarded.rank(guarded.keys["operator"]).status_code == 403


@pytest.mark.parametrize("path", ADMIN)
def test_operators_need_the_scope_admin(guarded: Guarded, path: str) -> None:
    assert guarded.service.client.get(path).status_code == 401
    assert guarded.service.client.head(path).status_code == 401
    assert guarded.get(path, "operator").status_code == 200


def test_probes_are_free(guarded: Guarded) -> None:
    assert guarded.service.client.get("/livez").status_code == 200
    assert guarded.service.client.get("/readyz").status_code == 503  # there is no model


@pytest.mark.parametrize("path", ["/nothing", "/rank/", "/rank//", "/livez/", "/%6detrics%00"])
def test_other_paths_exist_for_nobody(guarded: Guarded, path: str) -> None:
    assert guarded.service.client.get(path).status_code == 401
    assert guarded.get(path, "feed").json()["error"]["code"] == "not_found"


def test_a_stranger_is_refused_before_the_body_is_read(guarded: Guarded) -> None:
    with connected(port_of(guarded.service)) as wire:
        assert wire.ask(RANK + b"Content-Length: 1000000\r\n\r\n").status == 401


def test_the_document_says_which_routes_need_a_key(guarded: Guarded) -> None:
    document = guarded.get("/openapi.json", "operator").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "api_key"}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert ("security" in operation) is (guard.scope_of(path)[1] is not None)
    assert guarded.get("/openapi.json", "operator").json() == document


def test_a_rate_is_counted_and_shown(guarded: Guarded) -> None:
    answers = [guarded.rank(guarded.keys["limited"]) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"key";q=3;w=3600'}
    states = [answer.headers["ratelimit"].partition(";t=") for answer in answers]
    assert [state[0] for state in states] == [f'"key";r={left}' for left in (2, 1, 0, 0, 0)]
    assert answers[-1].headers["retry-after"] == states[-1][2]
    assert 1 <= int(states[-1][2]) <= 3600
    assert answers[-1].json()["error"]["code"] == "rate_limited"
    assert guarded.count("limited", "rate") == 2
    assert guarded.rank(guarded.keys["feed"]).status_code == 200


def test_keys_follow_their_file_and_outlive_it(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    key = add(guarded.path, "feed-2", frozenset({"rank"}))  # a rotation: both are valid
    until(lambda: guarded.rank(key).status_code == 200)
    assert guarded.rank(guarded.keys["feed"]).status_code == 200
    content = guarded.path.read_bytes()
    keyring = guarded.service.app.state.guard
    with caplog.at_level(logging.ERROR):
        for broken in (b"{", None):
            if broken is None:
                guarded.path.unlink()
            else:
                write_atomically(guarded.path, broken)
            until(lambda: keyring.fault)
            assert "rank_keys_file_fault 1.0" in guarded.get("/metrics", "operator").text
            assert guarded.rank(key).status_code == 200
            write_atomically(guarded.path, content)
            until(lambda: keyring.fault is None)
    lines = [r.getMessage() for r in caplog.records if r.name == "service.access.keyring"]
    assert len(lines) == 2, caplog.text
    assert all(str(guarded.path) in line for line in lines)
    remove(guarded.path, "feed-2")
    until(lambda: guarded.rank(key).status_code == 401)
    assert "feed-2" not in guarded.get("/metrics", "operator").text


def test_shared_rates_count_all_replicas(edge: Edge, redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = add(path, "limited", frozenset({"rank"}), rate="4/hour")
    settings = {
        "access": "keys",
        "keys_file": path,
        "rate_limits": "shared",
        "redis_url": SecretStr(redis_url),
        "namespace": "shared-rates",
        "store_timeout_ms": 2000,
    }
    with edge(**settings) as (first, _), edge(**settings) as (second, _):
        replicas = [Guarded(service, path, {}) for service in (first, second)]
        statuses = [replicas[number % 2].rank(key).status_code for number in range(6)]
    assert statuses == [200, 200, 200, 200, 429, 429]


def test_without_redis_each_replica_counts_alone(edge: Edge, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = {
        "limited": add(path, "limited", frozenset({"rank"}), rate="2/hour"),
        "operator": add(path, "operator", frozenset({"admin"})),
    }
    nowhere = SecretStr("redis://127.0.0.1:1/0")
    with edge(access="keys", keys_file=path, rate_limits="shared", redis_url=nowhere) as (
        service,
        _,
    ):
        guarded = Guarded(service, path, keys)
        statuses = [guarded.rank(keys["limited"]).status_code for _ in range(3)]
        metrics = guarded.get("/metrics", "operator").text
    assert statuses == [200, 200, 429]
    assert "rank_rates_counted_alone_total 3.0" in metrics

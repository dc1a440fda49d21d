"""What browsers and proxies need: origins, page headers, a root path, forwarded addresses."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from service.access.keys import add
from tests.integration.service.api.conftest import Edge
from tests.integration.service.api.test_access import Guarded
from tests.integration.service.api.wire import connected, get

SITE = "https://feed.example"


@pytest.fixture(scope="module")
def behind(edge: Edge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A service behind a proxy, with keys, that pages of one site may call."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    keys = {
        "feed": add(path, "feed", frozenset({"rank"})),
        "operator": add(path, "operator", frozenset({"admin"})),
    }
    settings = {"access": "keys", "keys_file": path, "root_path": "/ranking"}
    with edge(**settings, cors_origins=f"{SITE}, http://h:1", trusted_proxies="127.0.0.0/8") as (
        service,
        _,
    ):
        yield Guarded(service, path, keys)


def test_pages_of_a_named_site_may_call(behind: Guarded) -> None:
    preflight = {
        "Origin": SITE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    allowed = behind.service.client.options("/rank", headers=preflight)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == SITE
    answer = behind.rank(behind.keys["feed"], Origin=SITE)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SITE
    assert "RateLimit" in answer.headers["access-control-expose-headers"]
    refused = behind.rank(Origin=SITE)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, SITE)


def test_pages_of_other_sites_may_not(behind: Guarded) -> None:
    preflight = {"Origin": "https://else.example", "Access-Control-Request-Method": "POST"}
    assert behind.service.client.options("/rank", headers=preflight).status_code == 400
    answer = behind.rank(behind.keys["feed"], Origin="https://else.example")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("prefix", ["", "/ranking"])
def test_a_proxy_may_keep_or_leave_out_the_root_path(behind: Guarded, prefix: str) -> None:
    client = behind.service.client
    answer = client.post(
        f"{prefix}/rank", json={"user_id": "u"}, headers={"X-API-Key": behind.keys["feed"]}
    )
    assert (answer.status_code, answer.json()["user_id"]) == (200, "u")
    assert client.get(f"{prefix}/livez").status_code == 200
    assert client.get(f"{prefix}/metrics").status_code == 401
    assert behind.get(f"{prefix}/metrics", "feed").status_code == 403
    assert behind.get(f"{prefix}/metrics", "operator").status_code == 200
    document = behind.get(f"{prefix}/openapi.json", "operator").json()
    assert document["servers"] == [{"url": "/ranking"}]


def test_a_trusted_proxy_names_the_stranger(
    behind: Guarded, edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    behind.service.app.state.guard._log_again_at = 0.0
    with caplog.at_level(logging.WARNING):
        for _ in range(3):  # one line
            behind.rank("wrong", **{"X-Forwarded-For": "203.0.113.7"})
        with edge(access="keys", keys_file=behind.path) as (service, _):
            Guarded(service, behind.path, {}).rank(**{"X-Forwarded-For": "203.0.113.7"})
    trusted, untrusted = [r.getMessage() for r in caplog.records if "without a valid key" in r.msg]
    assert "requests refused without a valid key, the last from 203.0.113.7: " in trusted
    assert "the last from 127.0.0.1: send a key" in untrusted


def test_answers_have_the_headers_that_browsers_need(port: int) -> None:
    with connected(port) as wire:
        for path in ("/docs", "/docs-assets/swagger-ui.css", "/openapi.json", "/no", "/livez"):
            headers = wire.ask(get(path)).headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["referrer-policy"] == "no-referrer", path
        policy = wire.ask(get("/docs")).headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self' 'sha256-" in policy
    assert "script-src 'self' 'unsafe-inline'" not in policy

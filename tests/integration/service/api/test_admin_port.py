"""The service as a process: the keys that it needs to start, and its port for operators."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from service.__main__ import main
from service.access.keys import add
from tests.integration.service.api.process import serving
from tests.integration.service.api.wire import connected, get, post

ADMIN = ("/metrics", "/models", "/docs", "/openapi.json")


def test_operators_have_a_port_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = f"X-API-Key: {add(path, 'feed', frozenset({'rank'}))}"
    settings = {
        "RANK_ACCESS": "keys",
        "RANK_KEYS_FILE": str(path),
        "RANK_ADMIN_PORT": "0",
        "RANK_ADMIN_ACCESS": "open",
    }
    with (
        serving(tmp_path, **settings) as service,
        connected(service.port) as public,
        connected(service.admin_port) as admin,
    ):
        for route in ADMIN:
            assert public.ask(get(route)).status == 404, route
            assert admin.ask(get(route)).status == 200, route
        assert public.ask(get("/users/u")).status == 404
        assert admin.ask(get("/users/u")).status == 401  # a change needs a key on an open port
        assert public.ask(get("/livez")).status == admin.ask(get("/livez")).status == 200
        assert public.ask(post()).status == 401
        # No model serves: the request went through.
        assert public.ask(post(b'{"user_id": "u"}', key.encode())).code == "not_ready"
        assert admin.ask(post(b'{"user_id": "u"}', key.encode())).status == 404
        service.stop()
        service.end()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "callers need keys: make one with `python -m service keys add"),
        ({"RANK_KEYS_FILE": "absent"}, "absent: No such file or directory; make it with"),
        ({"RANK_ADMIN_ACCESS": "open"}, "RANK_ADMIN_ACCESS: open needs RANK_ADMIN_PORT"),
        ({"RANK_ADMIN_PORT": "8000"}, "RANK_ADMIN_PORT: should differ from RANK_PORT"),
        ({"RANK_TLS_KEY": "k"}, "RANK_TLS_CERTIFICATE and RANK_TLS_KEY: set both or neither"),
        (
            {"RANK_ACCESS": "open", "RANK_TLS_KEY": "k", "RANK_TLS_CERTIFICATE": "c"},
            "RANK_TLS_CERTIFICATE, RANK_TLS_KEY: c and k: ",
        ),
        (
            {"RANK_ACCESS": "open", "RANK_MAX_CONNECTIONS": "1048576"},
            "RANK_MAX_CONNECTIONS: 1048576 need ",
        ),
        ({"RANK_TRUSTED_PROXIES": "10.0.0.0/8, proxy"}, "RANK_TRUSTED_PROXIES: 'proxy' does not"),
        ({"RANK_CORS_ORIGINS": "feed.example"}, "RANK_CORS_ORIGINS: 'feed.example' is no origin"),
    ],
)
def test_a_mistake_stops_the_start(
    settings: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable, value in ({"RANK_ACCESS": "keys"} | settings).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("RANK_PORT", settings.get("RANK_ADMIN_PORT", "0"))
    monkeypatch.setattr(sys, "argv", ["service"])
    monkeypatch.setattr("service.__main__.Server", None)  # it must not come to that
    assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message)

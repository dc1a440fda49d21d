"""Which routes need which scope, and where a request keeps its key."""

from __future__ import annotations

import asyncio

import pytest

from service.access.guard import DOCS_ASSETS, FREE, SCOPES, Guard, key_of, scope_of
from service.api.explorer.routes import router as explorer
from service.app import create_app
from service.errors import KeysError, RouteNotFoundError
from service.settings import Settings
from service.telemetry import Telemetry

HEADERS = [
    ([], None),
    ([(b"authorization", b"Basic bWU6c2VjcmV0")], None),
    ([(b"authorization", b"Bearer  k ")], b"k"),
    ([(b"authorization", b"bearer k")], b"k"),
    ([(b"x-api-key", b"k")], b"k"),
    ([(b"authorization", b"Bearer of-the-gateway"), (b"x-api-key", b"k")], b"k"),
]


def test_every_route_is_free_or_needs_a_scope() -> None:
    app = create_app(Settings())
    hidden = {route.path for route in [*app.routes, *explorer.routes] if hasattr(route, "path")}
    paths = hidden | set(app.openapi()["paths"])
    assert {path for path in paths if scope_of(path)[1] is None} == {*FREE, DOCS_ASSETS}
    assert paths >= {*FREE, *SCOPES}


@pytest.mark.parametrize(("headers", "key"), HEADERS)
def test_the_key_of_a_request(headers: list[tuple[bytes, bytes]], key: bytes | None) -> None:
    assert key_of(headers) == key


def test_without_a_keys_file_the_error_names_both_mends() -> None:
    with pytest.raises(KeysError, match=r"RANK_KEYS_FILE=FILE, or .* RANK_ACCESS=open"):
        Guard(Settings(access="keys"), Telemetry()).load()


@pytest.mark.parametrize(
    ("path", "port", "found"),
    [
        ("/rank", 1, True),
        ("/livez", 1, True),
        ("/livez", 2, True),
        ("/rank", 2, False),
        ("/v2/models/m/infer", 1, True),
        ("/v2/models/m/infer", 2, False),
        ("/v2/health/live", 2, True),
        ("/metrics", 1, False),
        ("/models/m/card", 1, False),
        ("/models/m/card", 2, True),
        ("/docs-assets/swagger-ui.css", 1, False),
        ("/below/metrics", 1, False),
        ("/below/metrics", 2, True),
        ("/metrics", 2, True),
        ("/items/proxies", 1, False),
        ("/users/a/b", 2, True),
        ("/", 1, False),
        ("/", 2, True),
        ("/explorer/explorer.js", 1, False),
        ("/explorer/rank", 1, False),
        ("/explorer/rank", 2, True),
        ("/docs-assets/swagger-ui.css", 2, True),
    ],
)
def test_with_an_admin_port_each_route_has_one_port(path: str, port: int, found: bool) -> None:
    settings = Settings(access="open", port=1, admin_port=2, root_path="/below")
    scope = {"path": path, "server": ("127.0.0.1", port), "state": {}, "headers": []}
    admission = Guard(settings, Telemetry()).admit(scope)
    if found:
        assert asyncio.run(admission) == []
    else:
        with pytest.raises(RouteNotFoundError, match="no such route on this port"):
            asyncio.run(admission)

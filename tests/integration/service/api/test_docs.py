"""``/docs`` works without a network."""

from __future__ import annotations

import re
from urllib.parse import urljoin

from tests.integration.service.api.wire import connected, get

ELSEWHERE = re.compile(r"(?:https?:)?//[a-z]", re.IGNORECASE)


def test_the_page_and_its_parts_come_from_the_service(port: int) -> None:
    with connected(port) as wire:
        page = wire.ask(get("/docs"))
        assert page.status == 200
        text = page.body.decode()
        assert not ELSEWHERE.search(text)
        parts = re.findall(r"(?:src|href)=\"([^\"]+)\"|url: '([^']+)'", text)
        paths = {urljoin("/docs", first or second) for first, second in parts}
        assert "/openapi.json" in paths
        kinds = set()
        for path in paths:
            part = wire.ask(get(path))
            assert part.status == 200, path
            kinds.add(part.headers["content-type"].partition(";")[0].split("/")[1])
        assert kinds == {"javascript", "css", "png", "json"}


def test_the_styles_load_nothing_from_elsewhere(port: int) -> None:
    with connected(port) as wire:
        styles = wire.ask(get("/docs-assets/swagger-ui.css")).body.decode()
    sources = re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", styles)
    assert not [source for source in sources if not source.startswith("data:")]


def test_no_other_page_is_offered(port: int) -> None:
    with connected(port) as wire:
        assert wire.ask(get("/redoc")).status == 404

"""What a connection accepts, refuses and ignores."""

from __future__ import annotations

import pytest

from tests.integration.service.api.wire import BODY, RANK, connected, get, post

UPGRADE = (
    b"Connection: Upgrade, HTTP2-Settings",
    b"Upgrade: h2c",
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)


@pytest.mark.parametrize("segments", [1, 2])
@pytest.mark.parametrize("upgrade", [UPGRADE, (b"Connection: keep-alive, Upgrade", b"Upgrade: x")])
def test_an_upgrade_is_ignored_and_the_body_is_read(
    port: int, upgrade: tuple[bytes, ...], segments: int
) -> None:
    request = post(BODY, *upgrade)
    cut = len(request) if segments == 1 else len(request) - len(BODY)
    with connected(port) as wire:
        for _ in range(2):  # the connection lives on
            wire.send(request[:cut])
            wire.send(request[cut:])
            answer = wire.answer()
            assert (answer.status, answer.json["user_id"]) == (200, "u")
        assert wire.ask(get("/livez")).status == 200


def test_a_request_after_an_upgrade_in_one_segment_is_answered(port: int) -> None:
    with connected(port) as wire:
        wire.send(post(BODY, *UPGRADE) + post(b'{"user_id": "v"}'))
        assert wire.answer().json["user_id"] == "u"
        assert wire.answer().json["user_id"] == "v"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01 a TLS client\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"CONNECT h:1 HTTP/1.1\r\n\r\n",
    ],
)
def test_bytes_that_are_no_request_are_400(port: int, data: bytes) -> None:
    with connected(port) as wire:
        answer = wire.ask(data)
        assert (answer.status, answer.code) == (400, "bad_request")
        assert answer.headers["connection"] == "close"
        assert wire.is_closed()


def test_a_chunk_that_is_no_chunk_is_400(port: int) -> None:
    with connected(port) as wire:
        answer = wire.ask(RANK + b"Transfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\nworse\r\n")
        assert (answer.status, answer.code) == (400, "bad_request")
        assert wire.is_closed()


@pytest.mark.parametrize(
    "lines",
    [
        b"X-Long: " + b"x" * (1 << 23),
        b"\r\n".join(b"X-%d: y" % index for index in range(100_000)),
        b"X-Long: " + b"x" * 4096 + b"\r\n\r\n" + b"complete",
    ],
    ids=["one long", "many", "in one segment"],
)
def test_long_headers_are_431(port: int, lines: bytes) -> None:
    with connected(port) as wire:
        answer = wire.ask(RANK + lines)
        assert (answer.status, answer.code) == (431, "headers_too_large")
        assert "4096" in answer.json["error"]["message"]
        assert wire.is_closed()


def test_a_long_url_is_431(port: int) -> None:
    with connected(port) as wire:
        assert wire.ask(get("/" + "x" * 4096)).status == 431


def test_long_trailers_are_431(port: int) -> None:
    with connected(port) as wire:
        wire.send(RANK + b"Transfer-Encoding: chunked\r\n\r\n10\r\n" + BODY + b"\r\n0\r\n")
        answer = wire.ask(b"X-Trailer: " + b"x" * (1 << 20))
        assert (answer.status, answer.code) == (431, "headers_too_large")


def test_headers_within_the_limit_are_accepted_with_a_body_beyond_it(port: int) -> None:
    body = BODY[:-1] + b" " * 7000 + b"}"
    with connected(port) as wire:
        assert wire.ask(post(body, b"X-Long: " + b"x" * 3900)).status == 200


def test_a_body_beyond_the_limit_is_413_before_it_is_sent(port: int) -> None:
    with connected(port) as wire:
        answer = wire.ask(RANK + b"Content-Length: 8193\r\n\r\n")
        assert (answer.status, answer.code) == (413, "body_too_large")
        wire.send(b"x" * 8193)
        assert wire.ask(get("/livez")).status == 200


@pytest.mark.parametrize("segments", [1, 2])
def test_expect_is_answered_by_413_for_a_body_beyond_the_limit(port: int, segments: int) -> None:
    with connected(port) as wire:
        wire.send(RANK)
        if segments == 2:  # the service has read the first once it has answered another client
            with connected(port) as other:
                assert other.ask(get("/livez")).status == 200
        wire.send(b"Expect: 100-continue\r\nContent-Length: 8193\r\n\r\n")
        answer = wire.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert wire.is_closed()


def test_expect_is_answered_by_100_for_a_body_within_the_limit(port: int) -> None:
    with connected(port) as wire:
        wire.send(RANK + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert wire.reader.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert wire.ask(BODY).status == 200


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/models", "/openapi.json"])
def test_head_is_get_without_the_body(port: int, path: str) -> None:
    with connected(port) as wire:
        answer = wire.ask(get(path, "HEAD"), "HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 0
        assert wire.ask(get("/livez")).status == 200


def test_a_slash_too_many_is_404_and_no_redirect(port: int) -> None:
    with connected(port) as wire:
        answer = wire.ask(post().replace(b"/rank", b"/rank/"))
        assert (answer.status, answer.code) == (404, "not_found")
        assert "/rank/" in answer.json["error"]["message"]
        assert "location" not in answer.headers


def test_503_names_the_time_to_retry(port: int) -> None:
    with connected(port) as wire:
        answer = wire.ask(get("/readyz"))
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_an_answer_precedes_the_refusal_of_what_follows_it(port: int) -> None:
    with connected(port) as wire:
        answer = wire.ask(post() + b"no request\r\n\r\n")
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert wire.is_closed()

"""A client that sends bytes as they are."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

TIMEOUT_S = 20.0
RANK = b"POST /rank HTTP/1.1\r\nHost: h\r\n"
BODY = b'{"user_id": "u"}'


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def code(self) -> str:
        """The code of the error in the body."""
        code: str = self.json["error"]["code"]
        return code

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = msgspec.json.decode(self.body)
        return document


class Wire:
    """A connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")

    def close(self) -> None:
        self.reader.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, method: str = "GET") -> Answer:
        """Read one answer, which has a length; raises EOFError if the connection is closed."""
        if not (line := self.reader.readline()):
            raise EOFError
        headers = {}
        while (header := self.reader.readline().rstrip()) != b"":
            name, _, value = header.decode().partition(": ")
            headers[name.lower()] = value
        length = 0 if method == "HEAD" else int(headers["content-length"])
        return Answer(int(line.split()[1]), headers, self.reader.read(length))

    def ask(self, data: bytes, method: str = "GET") -> Answer:
        """Send ``data`` and read one answer."""
        self.send(data)
        return self.answer(method)

    def is_closed(self) -> bool:
        """Wait for the end of the connection, or fail on a byte or a timeout."""
        return self.reader.read(1) == b""


@contextmanager
def connected(port: int) -> Iterator[Wire]:
    wire = Wire(port)
    try:
        yield wire
    finally:
        wire.close()


def post(body: bytes = BODY, *headers: bytes) -> bytes:
    """Return a ranking request."""
    lines = [b"Content-Length: %d" % len(body), *headers]
    return RANK + b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(path: str, method: str = "GET", *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: h", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()

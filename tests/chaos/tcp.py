"""A TCP proxy that delays answers, or resets connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

_RESET = struct.pack("ii", 1, 0)  # linger 0: closing sends a reset


class FaultyWire:
    """Forwards connections to ``target`` from a thread of its own.

    ``delay_s`` delays every answer. ``reset`` ends all connections as a failing router does.
    """

    def __init__(self, target: int) -> None:
        self.delay_s = 0.0
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.Transport] = set()

    @contextlib.contextmanager
    def running(self) -> Iterator[FaultyWire]:
        """Forward during the block."""
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Client(self), "127.0.0.1", 0)
        )
        self.port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=self._loop.run_forever, name="wire")
        thread.start()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(server.close)
            self.reset()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def reset(self) -> None:
        """Reset all connections of clients; they are reset when this returns."""
        asyncio.run_coroutine_threadsafe(self._reset(), self._loop).result()

    async def _reset(self) -> None:
        for transport in list(self._open):
            endpoint: socket.socket = transport.get_extra_info("socket")
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()


class _Client(asyncio.Protocol):
    """The side of the client: connects to the target and forwards what comes."""

    def __init__(self, faulty: FaultyWire) -> None:
        self._faulty = faulty
        self._transport: asyncio.Transport
        self._target: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._faulty._open.add(transport)
        self._connecting = self._faulty._loop.create_task(self._connect())

    async def _connect(self) -> None:
        loop = self._faulty._loop
        try:
            target, _ = await loop.create_connection(
                lambda: _Answers(self._faulty, self._transport), "127.0.0.1", self._faulty._target
            )
        except OSError:
            self._transport.abort()
            return
        self._target = target
        target.write(b"".join(self._early))

    def data_received(self, data: bytes) -> None:
        if self._target is None:
            self._early.append(data)
        else:
            self._target.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._faulty._open.discard(self._transport)
        if self._target is not None:
            self._target.abort()


class _Answers(asyncio.Protocol):
    """The side of the target: forwards answers after the delay."""

    def __init__(self, faulty: FaultyWire, client: asyncio.Transport) -> None:
        self._faulty = faulty
        self._client = client

    def data_received(self, data: bytes) -> None:
        if self._faulty.delay_s:
            self._faulty._loop.call_later(self._faulty.delay_s, self._client.write, data)
        else:
            self._client.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._client.abort()

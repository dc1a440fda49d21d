"""uvicorn as this service runs it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from service import logs
from service.api.connection import Connection
from service.settings import Settings


class Server(uvicorn.Server):
    """Serves ``create_app``'s application within the limits of the settings.

    At a shutdown it stops to accept, answers what open connections still send, and closes each
    after its next answer.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._connection = functools.partial(Connection, settings, app.state.telemetry)
        config = uvicorn.Config(
            app,
            http=self._connection,  # type: ignore[arg-type]  # uvicorn only calls it
            ws="none",
            loop="uvloop",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # no answer depends on the client's address
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=settings.drain_s,
        )
        super().__init__(config)
        self._app = app

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Note signals while the service runs; then let them end the process, its log written."""
        with super().capture_signals():
            try:
                yield
            finally:
                logs.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what has arrived, then stop."""
        self._app.state.draining = True
        await self._stop_accepting(sockets or [])
        await super().shutdown(sockets)

    async def _stop_accepting(self, listeners: list[socket.socket]) -> None:
        """Accept what waits, then close the listeners: a connection left to wait would be reset."""
        waiting = []
        for listener in listeners:
            with contextlib.suppress(BlockingIOError):
                while True:
                    waiting.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> Connection:
        return self._connection(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

"""uvicorn as this service runs it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import resource
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from service import logs
from service.api.connection import Connection
from service.api.open_connections import OpenConnections
from service.settings import Settings

# Of all answers: a browser takes each for what its type says, and tells other sites no address.
_HEADERS = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]

_OTHER_DESCRIPTORS = 256  # files, streams of changes, shared rates


class Server(uvicorn.Server):
    """Serves ``create_app``'s application within the limits of the settings.

    At a shutdown it stops to accept, answers what open connections still send, and closes each
    after its next answer.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        telemetry = app.state.telemetry
        others = OpenConnections(settings.max_connections, telemetry)
        self._connection = functools.partial(Connection, settings, telemetry, others)
        config = uvicorn.Config(
            app,
            http=self._connection,  # type: ignore[arg-type]  # uvicorn only calls it
            ws="none",
            loop="uvloop",
            log_config=None,
            access_log=False,
            proxy_headers=settings.trusted_proxies is not None,
            forwarded_allow_ips=settings.trusted_proxies,
            headers=_HEADERS,
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
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
            await loop.connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)

    def _protocol(self) -> Connection:
        return self._connection(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def check_tls(settings: Settings) -> None:
    """Raise ValueError unless the certificate and its key can be used."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Without a password, OpenSSL would ask the terminal for one.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=lambda: "")
    except OSError as error:
        files = f"{settings.tls_certificate} and {settings.tls_key}"
        raise ValueError(f"RANK_TLS_CERTIFICATE, RANK_TLS_KEY: {files}: {error}") from error


def raise_descriptors(settings: Settings) -> None:
    """Let the process open a file for each connection; raises ValueError if the system refuses."""
    needed = settings.max_connections + 4 * settings.store_connections + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ValueError(
            f"RANK_MAX_CONNECTIONS: {settings.max_connections} need {needed} file descriptors, the "
            f"system allows {hard}: lower it, or raise the limit (`ulimit -Hn`)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

"""One HTTP connection: uvicorn's protocol, with limits on what arrives and a gentle end."""

from __future__ import annotations

import json
import os
import select
import time
from asyncio import TimerHandle, Transport
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.access.admission import Admission
from service.api.open_connections import OpenConnections
from service.api.reports import log_refusal
from service.api.trace_context import REQUEST_ID
from service.api.turned_away import PATH, is_one_ranking, turned_away
from service.errors import (
    BadRequestError,
    BodyTooLargeError,
    ConnectionsError,
    HeadersTooLargeError,
    RankError,
    RequestTimeoutError,
)
from service.settings import Settings
from service.telemetry import Telemetry

_LINGER_S = 2.0  # in which a refused client can read the reason
_ONE_TURN_S = 0.001  # of the event loop
_OF_THE_UPGRADE = frozenset({b"upgrade", b"http2-settings"})


class Connection(HttpToolsProtocol):
    """Refuses long headers and late requests, ignores upgrades, and outlives a shutdown while idle.

    ``scope["state"]`` of a request contains ``arrived_s``, the ``time.perf_counter()`` at which its
    first byte was read, and ``client_left``, a function that returns whether the client has closed
    the connection. If the rest of a body is refused, it also contains the error as ``refusal``.
    """

    def __init__(
        self, settings: Settings, telemetry: Telemetry, others: OpenConnections, **options: Any
    ) -> None:
        super().__init__(**options)
        self._others = others
        self.app_state = {**self.app_state, "client_left": self._client_left}
        self._telemetry = telemetry
        self._max_body_bytes = settings.max_body_bytes
        self._max_header_bytes = settings.max_header_bytes
        self._receive_timeout_s = settings.receive_timeout_s
        self._timer: TimerHandle | None = None  # runs while part of a request is missing
        self._unparsed_bytes = 0  # read since the last head or part of a body
        self._arrived_s = 0.0
        self._refused = False
        self._admission: Admission = self.config.app.state.admission  # type: ignore[union-attr]  # an app, not a path
        self._between = True  # two requests: no part of one is read
        self._dropping = False  # the body of a refused ranking
        self._turned_away = False  # a ranking, since the idle wait began
        self._draining: bool = self.config.app.state.draining  # type: ignore[union-attr]  # an app, not a path

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._hang_up = select.poll()
        self._hang_up.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        self._arrived_s = time.perf_counter()
        self._start_timer()
        if not self._others.add(self):
            self._refuse(ConnectionsError(self._others.most))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        self._others.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse ``data``; refuse what is no HTTP or too long, and time what is not complete."""
        if self._refused:
            return
        if self._admission.full and self._is_one_ranking(data):
            self._turn_away()
            return
        self._unset_keepalive_if_required()
        self._unparsed_bytes += len(data)
        is_http = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            is_http = False
        except httptools.HttpParserUpgrade as upgrade:
            is_http = self._parse_without_upgrade(data[upgrade.args[0] :])
        if self._unparsed_bytes > self._max_header_bytes:
            self._refuse(HeadersTooLargeError(self._max_header_bytes))
        elif not is_http:
            self._refuse(BadRequestError("the bytes are no HTTP request"))
        elif self.timeout_keep_alive_task is not None:  # the last ranking was turned away
            pass
        elif (cycle := self.cycle) is None or cycle.more_body or cycle.response_complete:
            if self._timer is None:
                self._start_timer()
            self._refuse_a_long_body()
        elif self._timer is not None:  # a whole request is being answered
            self._stop_timer()

    def on_message_begin(self) -> None:
        """Note the time of a request's first byte."""
        super().on_message_begin()
        self._between = False
        self._unset_keepalive_if_required()
        if self._timer is not None:
            self._stop_timer()
        self.scope["state"]["arrived_s"] = self._arrived_s = time.perf_counter()

    def on_headers_complete(self) -> None:
        """Start the application, unless the head is too long or too many rankings wait."""
        if self._unparsed_bytes > self._max_header_bytes:  # part of the body is in this count
            head_bytes = sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head_bytes + len(self.url) > self._max_header_bytes:
                raise ValueError("the head is too long")  # stops the parser
        self._unparsed_bytes = 0
        if self.parser.get_method() == b"POST" and self.url.partition(b"?")[0] == PATH:
            if self._admission.full and self._may_turn_away():
                self._dropping = True
                self._turn_away()
                return
            self._admission.arrive()
        super().on_headers_complete()
        if not self._is_of_this_request():  # an upgrade, whose head is parsed again
            return
        self._others.busy(self)
        # After `Expect: 100-continue`, a refused client may send the body or a new request: no one
        # can tell the two apart.
        if self._draining or self.expect_100_continue:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Wait for the next request, unless one waits already."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._others.idle(self)

    def cut(self) -> None:
        """Close at once: the client has sent no request, or only part of its head."""
        self._stop_timer()
        self.transport.abort()

    def on_body(self, body: bytes) -> None:
        """Pass on part of the body."""
        self._unparsed_bytes = 0
        if not self._dropping:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of a request."""
        self._between = True
        if self._dropping:
            self._dropping = False
            self._wait_for_the_next()
        else:
            super().on_message_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, unless a ranking was turned away since the wait began."""
        if self._turned_away:
            self._wait_for_the_next()
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """Close after the next answer, or after the wait of an idle connection.

        uvicorn closes idle connections at once, which resets requests that are on their way.
        """
        self._draining = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif self.cycle is None and not self._unparsed_bytes:
            self._wait_for_the_next()

    def _is_one_ranking(self, data: bytes) -> bool:
        """Return whether ``data`` is one whole ranking request that can be turned away unparsed."""
        if not self._between or self._unparsed_bytes or not self._is_idle() or self._draining:
            return False
        return is_one_ranking(data, self._max_header_bytes)

    def _may_turn_away(self) -> bool:
        """Return whether the answer can be written now, and another request can follow it."""
        return (
            self._is_idle()
            and not self._draining
            and not self.expect_100_continue
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
        )

    def _turn_away(self) -> None:
        """Answer a ranking for which there is no room, before anything is done for it."""
        # Paused: the client does not read its answers. Closing: it has reset the connection.
        if self.flow.write_paused or self.transport.is_closing():
            self.transport.abort()
            return
        began_s = time.perf_counter()
        self.transport.write(turned_away())
        self._telemetry.shed["rankings"].inc()
        self._telemetry.request("/rank", 503).observe(time.perf_counter() - began_s)
        self._turned_away = True
        if self.timeout_keep_alive_task is None and not self._dropping:
            self._wait_for_the_next()

    def _wait_for_the_next(self) -> None:
        """Close the connection after an idle wait."""
        self._turned_away = False
        self._stop_timer()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _parse_without_upgrade(self, rest: bytes) -> bool:
        """Parse the head again as that of an ordinary request, then the ``rest`` of the bytes.

        The parser stops after a head that asks for an upgrade. Returns whether all is HTTP.
        """
        if self.scope["method"] == "CONNECT":
            return False
        head = self._head_without_upgrade()
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(head + rest)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):  # in the rest
            return False
        return True

    def _should_upgrade(self) -> bool:
        # Keeps uvicorn from starting an application before the head is parsed again.
        return True

    def _head_without_upgrade(self) -> bytes:
        method, version = self.scope["method"].encode(), self.scope["http_version"].encode()
        lines = [b"%s %s HTTP/%s\r\n" % (method, self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(t for t in tokens if t.lower() not in _OF_THE_UPGRADE)
            if name not in _OF_THE_UPGRADE:
                lines.append(b"%s: %s\r\n" % (name, value))
        return b"".join([*lines, b"\r\n"])

    def _is_of_this_request(self) -> bool:
        return self.cycle is not None and self.cycle.scope is self.scope

    def _client_left(self) -> bool:
        return self.transport.is_closing() or bool(self._hang_up.poll(0))

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._receive_timeout_s, self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self, bytes_were_read: bool = False) -> None:
        """Refuse a request that is late, or close the connection if there is none."""
        idle = self._is_idle()
        if self.flow.read_paused:  # the service is late, not the client
            self._start_timer()
        elif not bytes_were_read:  # a busy loop runs its timers before it reads what has arrived
            self._timer = self.loop.call_later(_ONE_TURN_S, self._time_out, True)
        elif idle and not self._unparsed_bytes:
            self.transport.close()
        else:
            self._refuse(RequestTimeoutError(self._receive_timeout_s))

    def _refuse(self, error: RankError) -> None:
        """Read no more requests, and close once ``error`` and all open requests are answered."""
        self._refused = True
        self._stop_timer()
        if self._is_idle():
            self._answer(error)
            return
        self.cycle.keep_alive = False
        if self.cycle.more_body:  # its application answers the error
            self.cycle.scope["state"]["refusal"] = error
            self.cycle.message_event.set()

    def _refuse_a_long_body(self) -> None:
        """Refuse a body by its announced length, before it is asked for."""
        if (cycle := self.cycle) is None or cycle.response_complete:
            return
        for name, value in cycle.scope["headers"]:
            if name == b"content-length" and int(value) > self._max_body_bytes:
                cycle.waiting_for_100_continue = False
                cycle.scope["state"]["refusal"] = BodyTooLargeError(self._max_body_bytes)
                cycle.message_event.set()

    def _answer(self, error: RankError) -> None:
        """Answer a request whose head is not complete, which no application sees."""
        request_id = os.urandom(16).hex()
        body = json.dumps(error.body(request_id)).encode()
        headers = [
            *self.server_state.default_headers,
            *((name.lower().encode(), value.encode()) for name, value in error.headers().items()),
            (b"content-length", str(len(body)).encode()),
            (b"content-type", b"application/json"),
            (b"connection", b"close"),
            (REQUEST_ID, request_id.encode()),
        ]
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[error.status] + lines + b"\r\n" + body)
        # Closed with unread bytes, a connection is reset and the answer lost.
        if self.transport.can_write_eof():  # not with TLS
            self.transport.write_eof()
        self._timer = self.loop.call_later(_LINGER_S, self.transport.close)
        spent_s = time.perf_counter() - self._arrived_s
        self._telemetry.request("other", error.status).observe(spent_s)
        log_refusal(request_id, error, spent_s)

"""The open connections of a service, and room for new ones."""

from __future__ import annotations

from typing import Protocol

from service.telemetry import Telemetry


class Closable(Protocol):
    """A connection."""

    def cut(self) -> None:
        """Close it at once."""


class OpenConnections:
    """Knows which connections are idle, the one that is idle the longest first.

    A connection is busy while a request, whose head has arrived, is not answered; otherwise it is
    idle. So one that sends its head slowly is idle, too.
    """

    def __init__(self, most: int, telemetry: Telemetry) -> None:
        self.most = most
        self._telemetry = telemetry
        self._idle: dict[Closable, None] = {}
        self._busy: set[Closable] = set()

    def add(self, connection: Closable) -> bool:
        """Add a new one; return whether there is room. Closes the longest idle one to make room."""
        has_room = len(self._idle) + len(self._busy) < self.most
        if not has_room and self._idle:
            longest_idle = next(iter(self._idle))
            del self._idle[longest_idle]
            longest_idle.cut()
            self._telemetry.beyond_limit["closed"].inc()
            has_room = True
        elif not has_room:
            self._telemetry.beyond_limit["refused"].inc()
        self._idle[connection] = None
        self._report()
        return has_room

    def busy(self, connection: Closable) -> None:
        """Note that a connection has a request that is not answered."""
        if connection in self._idle:
            del self._idle[connection]
            self._busy.add(connection)

    def idle(self, connection: Closable) -> None:
        """Note that all requests of a connection are answered."""
        if connection in self._busy:
            self._busy.remove(connection)
            self._idle[connection] = None

    def remove(self, connection: Closable) -> None:
        """Forget a connection that is lost."""
        self._idle.pop(connection, None)
        self._busy.discard(connection)
        self._report()

    def _report(self) -> None:
        self._telemetry.connections.set(len(self._idle) + len(self._busy))

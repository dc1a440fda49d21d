"""An open loop of requests on kept-alive connections that notes every answer, or its lack."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bench.hotpath.load import Connection, LoadError, connect, no_collections
from tests.chaos.requests import Case

PATIENCE_S = 10.0  # of a client: it then leaves, and its request is lost
_CONNECTIONS = 32

_SOUND = b'"degraded":[]'


@dataclass(frozen=True)
class Answer:
    """An answer: when it was asked for, on the monotonic clock, and what came.

    ``status`` is None for a lost request: refused, closed before its answer, or not answered in
    time.
    """

    case: Case
    asked_s: float
    latency_ms: float
    status: int | None
    body: bytes

    @property
    def sound(self) -> bool:
        """Whether this is a ranking that is not degraded."""
        return self.status == 200 and _SOUND in self.body


class Load:
    """Sends ``rate`` requests a second from a thread of its own.

    Beyond ``connections`` open ones, requests wait; that counts as latency.
    """

    def __init__(
        self, port: int, cases: Sequence[Case], rate: float, connections: int = 1024
    ) -> None:
        self.answers: list[Answer] = []  # in the order in which they came
        self._port = port
        self._cases = itertools.cycle(cases)
        self._rate = rate
        self._connections = connections
        self._stop = threading.Event()
        self._idle: deque[Connection] = deque()
        self._error: BaseException | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Send requests during the block; its end waits for the last answers."""
        thread = threading.Thread(target=self._run, name="load")
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with no_collections():
                asyncio.run(self._send())
        except BaseException as error:  # raised again at the end of the block
            self._error = error

    async def _send(self) -> None:
        self._idle.extend([await connect(self._port) for _ in range(_CONNECTIONS)])
        self._free = asyncio.Semaphore(self._connections)
        asked: set[asyncio.Task[None]] = set()
        start_s = time.monotonic()
        for number, case in enumerate(self._cases):
            due_s = start_s + number / self._rate
            if (wait_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            if self._stop.is_set():
                break
            task = asyncio.create_task(self._ask(case, due_s))
            asked.add(task)
            task.add_done_callback(asked.discard)
        await asyncio.gather(*asked)
        for connection in self._idle:
            connection.close()

    async def _ask(self, case: Case, due_s: float) -> None:
        status, body = None, b""
        with contextlib.suppress(LoadError, OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S), self._free:
                connection = await self._connection()
                try:
                    status, body = await connection.exchange(case.wire)
                finally:
                    if status is not None and connection.reusable:
                        self._idle.append(connection)
                    else:
                        connection.close()
        latency_ms = 1e3 * (time.monotonic() - due_s)
        self.answers.append(Answer(case, due_s, latency_ms, status, body))

    async def _connection(self) -> Connection:
        """Return the connection that was idle for longest, or a new one."""
        while self._idle:
            connection = self._idle.popleft()
            if connection.reusable:
                return connection
        return await connect(self._port)

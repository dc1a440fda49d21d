"""Load over keep-alive connections: a closed loop, and an open loop that shows queueing."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import cast

import httptools
import numpy as np
from numpy.typing import NDArray

from tests.bench.hotpath.protocol import HOST, KEY

_ANSWER_S = 60.0
_LOOK_S = 0.02
_CONNECTIONS = 256  # of the open loop; further arrivals wait, and their latency includes it


class LoadError(Exception):
    """An answer other than 200, or a closed connection."""


@dataclass(frozen=True)
class Load:
    """Results of a run: its seconds, and latencies in milliseconds.

    ``late_ms`` (open loop only): how long after its intended time each request left the client.
    """

    seconds: float
    latency_ms: NDArray[np.float64]
    late_ms: NDArray[np.float64]

    @property
    def rps(self) -> float:
        """Answers per second."""
        return len(self.latency_ms) / self.seconds

    def percentile_ms(self, q: float) -> float:
        """Return a percentile of the latencies."""
        return float(np.percentile(self.latency_ms, q))


def wire(path: str, body: bytes) -> bytes:
    """Return the bytes of a POST request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"Accept: */*\r\nX-API-Key: {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One connection that sends one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None
        self._keeps = True

    @property
    def reusable(self) -> bool:
        """Whether a client may send another request."""
        return self._transport is not None and self._keeps and not self._transport.is_closing()

    async def ask(self, request: bytes) -> bytes:
        """Return the body of the answer; raises LoadError unless its status is 200."""
        status, body = await self.exchange(request)
        if status != 200:
            raise LoadError(f"{status}: {body[:500].decode(errors='replace')}")
        return body

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer; raises LoadError if the server closes before it."""
        assert self._transport is not None
        if self._transport.is_closing():
            raise LoadError("the server closed a connection")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._fail(LoadError("the server closed a connection"))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body, self._body = b"".join(self._body), []
        self._keeps = self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), body))

    def _fail(self, error: LoadError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


async def ask_all(port: int, requests: Sequence[bytes]) -> list[bytes]:
    """Send ``requests`` one after another and return the answers."""
    async with _connected(port, 1) as (connection,):
        return [await asyncio.wait_for(connection.ask(request), _ANSWER_S) for request in requests]


async def closed_loop(
    port: int,
    requests: Sequence[bytes],
    concurrency: int,
    go_on: Callable[[], bool],
    *,
    limit: int | None = None,
) -> Load:
    """Send requests over ``concurrency`` connections while ``go_on`` holds, or ``limit`` requests.

    Waits for the answer to every request that it sent.
    """
    latency_ms: list[float] = []
    source = itertools.islice(itertools.cycle(requests), limit)
    going = True

    async def worker(connection: Connection) -> None:
        nonlocal going
        while going:
            if (request := next(source, None)) is None:
                going = False
                return
            began = time.perf_counter()
            await connection.ask(request)
            latency_ms.append((time.perf_counter() - began) * 1e3)

    async with _connected(port, concurrency) as connections:
        with no_collections():
            began = time.perf_counter()
            workers = [asyncio.create_task(worker(connection)) for connection in connections]
            while going and not any(task.done() for task in workers):
                await asyncio.sleep(_LOOK_S)
                going = going and go_on()
            going = False
            async with asyncio.timeout(_ANSWER_S):
                await asyncio.gather(*workers)
            seconds = time.perf_counter() - began
    return Load(seconds, np.array(latency_ms), np.zeros(0))


async def open_loop(port: int, requests: Sequence[bytes], offsets_s: NDArray[np.float64]) -> Load:
    """Send a request at each offset, answered or not; latency counts from the intended time."""
    loop = asyncio.get_running_loop()
    source = itertools.cycle(requests)
    latency_ms: list[float] = []
    late_ms: list[float] = []
    idle: list[Connection] = []
    free = asyncio.Semaphore(_CONNECTIONS)
    answered = asyncio.Event()
    asked: set[asyncio.Task[None]] = set()
    failures: list[BaseException] = []

    async def ask(intended: float) -> None:
        async with free:
            connection = idle.pop() if idle else await connect(port)
            late_ms.append((time.perf_counter() - intended) * 1e3)
            await connection.ask(next(source))
            latency_ms.append((time.perf_counter() - intended) * 1e3)
            idle.append(connection)

    def done(task: asyncio.Task[None]) -> None:
        asked.discard(task)
        if not task.cancelled() and (error := task.exception()):
            failures.append(error)
        if failures or len(latency_ms) == len(offsets_s):
            answered.set()

    def arrive(intended: float) -> None:
        task = loop.create_task(ask(intended))
        asked.add(task)
        task.add_done_callback(done)

    # A thread paces the arrivals: event loops wake up to a millisecond late.
    stop = threading.Event()

    def pace(start: float) -> None:
        for offset in offsets_s:
            if (wait := start + offset - time.perf_counter()) > 0:
                time.sleep(wait)
            if stop.is_set():
                return
            loop.call_soon_threadsafe(arrive, start + offset)

    idle.extend([await connect(port) for _ in range(8)])
    with no_collections():
        start = time.perf_counter() + 0.05
        pacing = threading.Thread(target=pace, args=(start,), daemon=True)
        pacing.start()
        try:
            async with asyncio.timeout(offsets_s[-1] + _ANSWER_S):
                await answered.wait()
        finally:
            stop.set()
            seconds = time.perf_counter() - start
            for task in asked:
                task.cancel()
            for connection in idle:
                connection.close()
            pacing.join()
    if failures:
        raise failures[0]
    return Load(seconds, np.array(latency_ms), np.array(late_ms))


def poisson(rate: float, seconds: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the arrival times of a Poisson process in seconds, at least one."""
    gaps = rng.exponential(1 / rate, max(1, round(rate * seconds)))
    return np.asarray(np.cumsum(gaps))


async def connect(port: int) -> Connection:
    """Return a new connection."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, HOST, port)
    return connection


@asynccontextmanager
async def _connected(port: int, count: int) -> AsyncIterator[list[Connection]]:
    connections = [await connect(port) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


@contextmanager
def no_collections() -> Iterator[None]:
    """Keep the client's garbage collector out of the latencies."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

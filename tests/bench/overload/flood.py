"""Open-loop load whose answers may be refusals, with probes from a process of their own."""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle
from multiprocessing.connection import Connection as Pipe
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tests.bench.hotpath.load import no_collections
from tests.bench.hotpath.measure import run
from tests.bench.hotpath.protocol import HOST

_PACE_S = 0.001
_PROBE_S = 0.02
_ANSWER_S = 60.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """Of each request: the intended time (s), the delay of the client, status and latency (ms)."""

    intended_s: Floats
    late_ms: Floats
    status: NDArray[np.int64]
    latency_ms: Floats

    def between(self, begin_s: float, end_s: float) -> Answers:
        """Return the answers to requests of a time."""
        rows = (self.intended_s >= begin_s) & (self.intended_s < end_s)
        return Answers(*(values[rows] for values in vars(self).values()))

    def accepted(self) -> Answers:
        """Return the rankings."""
        rows = self.status == HTTPStatus.OK
        return Answers(*(values[rows] for values in vars(self).values()))

    def percentile_ms(self, q: float) -> float:
        """Return a percentile of the latencies; 0 without answers."""
        return float(np.percentile(self.latency_ms, q)) if len(self.latency_ms) else 0.0


class _Client(asyncio.Protocol):
    """One connection with one request at a time; reads of the answer only status and length."""

    def __init__(self) -> None:
        self._data = b""
        self._answer: asyncio.Future[int]
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """Send ``request``; the future gets the status, 0 if the connection is lost."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        length = self._data.find(b"content-length: ", 0, end) + len(b"content-length: ")
        body_bytes = int(self._data[length : self._data.find(b"\r\n", length)])
        if len(self._data) >= end + 4 + body_bytes:
            status, self._data = int(self._data[9:12]), b""
            self._answer.set_result(status)

    def connection_lost(self, _error: Exception | None) -> None:
        if hasattr(self, "_answer") and not self._answer.done():
            self._answer.set_result(0)


async def flood(
    port: int, requests: Sequence[bytes], offsets_s: Floats, connections: int
) -> Answers:
    """Send a request at each offset, whatever the answers; further ones wait for a connection."""
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(_Client, HOST, port))[1] for _ in range(connections)]
    idle, waiting = deque(clients), deque[int]()
    source = cycle(requests)
    count = len(offsets_s)
    late_ms, latency_ms, status = np.zeros(count), np.zeros(count), np.zeros(count, np.int64)
    open_requests = count
    end = asyncio.Event()

    def send(number: int) -> None:
        client = idle.popleft()
        late_ms[number] = (time.perf_counter() - start - offsets_s[number]) * 1e3

        def answered(answer: asyncio.Future[int]) -> None:
            nonlocal open_requests
            latency_ms[number] = (time.perf_counter() - start - offsets_s[number]) * 1e3
            status[number] = answer.result()
            open_requests -= 1
            if not open_requests:
                end.set()
            if not client.transport.is_closing():
                idle.append(client)
            if waiting and idle:
                send(waiting.popleft())

        client.ask(next(source)).add_done_callback(answered)

    with no_collections():
        start, sent = time.perf_counter(), 0
        while sent < count:
            due = int(np.searchsorted(offsets_s, time.perf_counter() - start, side="right"))
            for number in range(sent, due):
                if idle:
                    send(number)
                else:
                    waiting.append(number)
            sent = due
            await asyncio.sleep(_PACE_S)
        async with asyncio.timeout(_ANSWER_S):
            await end.wait()
    for client in clients:
        client.transport.close()
    return Answers(np.asarray(offsets_s), late_ms, status, latency_ms)


def _probe(port: int, pipe: Pipe) -> None:
    """Ask for /livez and /metrics in turns until the pipe says stop; send the worst times in ms."""
    worst = {"/livez": 0.0, "/metrics": 0.0}
    connection = http.client.HTTPConnection(HOST, port, timeout=_ANSWER_S)
    while not pipe.poll(_PROBE_S):
        for path in worst:
            began = time.perf_counter()
            connection.request("GET", path)
            connection.getresponse().read()
            worst[path] = max(worst[path], (time.perf_counter() - began) * 1e3)
    pipe.send(worst)


def probed(
    port: int, requests: Sequence[bytes], phases: Sequence[Floats], connections: int
) -> tuple[Answers, dict[str, float]]:
    """Flood in phases one after another; return the answers and the worst times of the probes."""
    offsets, begin = [], 0.0
    for phase in phases:
        offsets.append(begin + phase)
        begin = float(offsets[-1][-1])
    ours, theirs = multiprocessing.Pipe()
    prober = multiprocessing.get_context("fork").Process(target=_probe, args=(port, theirs))
    prober.start()
    try:
        answers = run(flood(port, requests, np.concatenate(offsets), connections))
        ours.send("stop")
        worst: dict[str, float] = ours.recv()
    finally:
        prober.join(1.0)
        prober.kill()
    return answers, worst

"""Costly rankings at a rate, from a process of its own.

``python -m tests.chaos.flood PORT RATE SECONDS`` prints JSON: the rankings a second, and the number
of answers by code, 0 for a lost connection. Rate 0 asks with eight clients,
each as soon as its last request is answered.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus

from tests.bench.common import ROOT
from tests.bench.hotpath.load import closed_loop, wire
from tests.chaos.load import Load
from tests.chaos.requests import Case

_CANDIDATES = 5000  # most of them repeats: costly to serve, cheap to send
_CLIENTS = 8
_CONNECTIONS = 512


@dataclass(frozen=True)
class Flood:
    """Rankings a second, and the number of answers by code."""

    goodput: float
    codes: dict[str, int]


def pour(port: int, item_ids: list[str], rate: float, seconds: float) -> Flood:
    """Flood a port from another process, which costs this one no time."""
    command = [sys.executable, "-m", "tests.chaos.flood", str(port), str(rate), str(seconds)]
    done = subprocess.run(
        command, cwd=ROOT, input=json.dumps(item_ids), capture_output=True, text=True, check=True
    )
    return Flood(**json.loads(done.stdout))


def main(port: int, rate: float, seconds: float) -> None:
    """Flood and print what came."""
    item_ids = json.load(sys.stdin)
    ids = (item_ids * (_CANDIDATES // len(item_ids) + 1))[:_CANDIDATES]
    body = {"user_id": "u0000", "candidates": ids, "top_k": 1, "explain": True}
    request = wire("/rank", json.dumps(body).encode())
    if rate:
        load = Load(port, [Case(0, None, 0.5, request)], rate, _CONNECTIONS)
        with load.running():
            time.sleep(seconds)
        codes = Counter(answer.status or 0 for answer in load.answers)
        goodput = codes[HTTPStatus.OK] / seconds
    else:
        end_s = time.monotonic() + seconds
        loop = asyncio.run(closed_loop(port, [request], _CLIENTS, lambda: time.monotonic() < end_s))
        goodput, codes = loop.rps, Counter({int(HTTPStatus.OK): len(loop.latency_ms)})
    sys.stdout.write(json.dumps({"goodput": goodput, "codes": codes}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))

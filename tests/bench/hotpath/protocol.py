"""The task of a server; imports only the standard library.

A server is a process of its own. It reads its ``Task`` as JSON from the environment, listens on
``HOST`` and answers ``POST /rank``.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

HOST = "127.0.0.1"
VARIABLE = "HOTPATH_TASK"
KEY = f"pr_bench_{'0' * 43}"  # of the client, where the service asks for one
TOP_K = 50
STORE_TIMEOUT_S = 30  # other load on the machine must not fail a request


@dataclass(frozen=True)
class Task:
    """The model to serve, its records, and ports to listen on."""

    artifact: str
    models: str
    redis_url: str
    namespace: str
    port: int
    more_ports: tuple[int, ...]  # for servers that listen on several
    answer: str  # file with the answer of the floor
    scratch: str
    ort_threads: int = 0  # onnxruntime threads of the idiomatic handler; 0: its default

    def environment(self) -> dict[str, str]:
        """Return the environment variable that holds this task."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def read(cls) -> Task:
        """Return the task of this process."""
        return cls(**json.loads(os.environ[VARIABLE]))


def state_key(namespace: str, item_id: str) -> str:
    """Return the key of an item's encoded state: S float32, then 1.0 for an item that is cold."""
    return f"{namespace}:states:{item_id}"

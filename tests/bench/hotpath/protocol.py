"""What a server is told; the standard library alone.

A server is a process of its own that finds its ``Task`` as JSON in the environment, listens on
``HOST`` and answers ``POST /rank``.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

HOST = "127.0.0.1"
VARIABLE = "HOTPATH_TASK"
TOP_K = 50
STORE_TIMEOUT_S = 30  # a busy neighbour is no reason to fail a request


@dataclass(frozen=True)
class Task:
    """Which model to serve from which records on which port."""

    artifact: str
    models: str
    redis_url: str
    namespace: str
    port: int
    more_ports: tuple[int, ...]  # for those that listen on several
    answer: str  # file with the body that the floor answers
    scratch: str
    ort_threads: int = 0  # of the idiomatic handler; 0 is onnxruntime's default

    def environment(self) -> dict[str, str]:
        """Return the variable that tells a server of this task."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def read(cls) -> Task:
        """Return the task of this process."""
        return cls(**json.loads(os.environ[VARIABLE]))


def state_key(namespace: str, item_id: str) -> str:
    """Return the key of an item's encoded state: S float32, then 1.0 for an item that is cold."""
    return f"{namespace}:states:{item_id}"

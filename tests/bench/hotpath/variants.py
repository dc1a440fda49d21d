"""The variants: the command that starts each, and its environment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.access.keys import Key, KeysFile, digest
from tests.bench.common import ONE_THREAD, ROOT, interpreter
from tests.bench.hotpath.protocol import HOST, KEY, STORE_TIMEOUT_S, Task
from tests.bench.hotpath.servers import Command

_PACKAGE = __package__


@dataclass(frozen=True)
class Variant:
    """One server; ``venv`` names its requirements, "" means the project's own environment."""

    name: str
    description: str
    package: str
    venv: str
    arguments: Callable[[Task], Sequence[str]]
    path: str = "/rank"
    ready: str | None = None
    ort_threads: int = 0

    def python(self, build: Path) -> Path:
        """Return the interpreter."""
        return interpreter(build, self.venv) if self.venv else Path(sys.executable)

    def command(self, build: Path, task: Task, more: Mapping[str, str]) -> Command:
        """Return the command that starts it, with ``more`` variables in its environment."""
        environment = {
            **ONE_THREAD,
            **task.environment(),
            **_service_settings(task),
            "PYTHONPATH": str(ROOT),
            "HOME": task.scratch,  # some servers write files there
            "BENTOML_DO_NOT_TRACK": "True",
            "RAY_USAGE_STATS_ENABLED": "0",
            **more,
        }
        return Command([str(self.python(build)), *self.arguments(task)], environment, self.ready)

    def library(self, build: Path) -> str:
        """Return the serving package with its version."""
        code = f"from importlib.metadata import version; print(version({self.package!r}))"
        done = subprocess.run(
            [str(self.python(build)), "-c", code], capture_output=True, text=True, check=True
        )
        return f"{self.package} {done.stdout.strip()}"


def _module(name: str) -> Callable[[Task], Sequence[str]]:
    return lambda _task: ["-m", f"{_PACKAGE}.{name}"]


def _bentoml(task: Task) -> Sequence[str]:
    service = f"{_PACKAGE}.bentoml_rank:Rank"
    return ["-m", "bentoml", "serve", service, "--host", HOST, "--port", str(task.port)]


# Shows how much of the idiomatic cost comes from onnxruntime's threads, which spin by default.
IDIOMATIC_ONE_THREAD = Variant(
    "idiomatic-1-thread", "idiomatic, with one onnxruntime thread", "fastapi", "fastapi",
    _module("idiomatic"), ort_threads=1,
)  # fmt: skip
VARIANTS = (
    Variant(
        "ours", "python -m service", "paretorank", "",
        lambda _task: ["-m", "service"], ready="/readyz",
    ),
    Variant(
        "floor", "ours with a no-op route, same bodies, same middleware", "paretorank", "",
        _module("floor"), path="/noop", ready="/readyz",
    ),
    Variant(
        "idiomatic", "pydantic in and out, GET + 2 MGET, encode and rank", "fastapi", "fastapi",
        _module("idiomatic"),
    ),
    IDIOMATIC_ONE_THREAD,
    Variant(
        "tuned", "msgspec, orjson, one MGET of encoded items, one thread", "fastapi", "fastapi",
        _module("tuned"),
    ),
    Variant("bentoml", "the idiomatic handler", "bentoml", "bentoml", _bentoml),
    Variant("litserve", "the idiomatic handler", "litserve", "litserve", _module("litserve_rank")),
    Variant("mlserver", "the idiomatic handler", "mlserver", "mlserver", _module("mlserver_rank")),
    Variant("ray", "the idiomatic handler", "ray", "ray", _module("ray_rank")),
)  # fmt: skip


def _service_settings(task: Task) -> dict[str, str]:
    """Return the settings of a service in production: it asks for keys and logs decisions."""
    keys = Path(task.scratch) / "keys.json"
    client = Key(name="bench", sha256=digest(KEY.encode()).hex(), scopes=frozenset(["rank"]))
    keys.write_text(KeysFile(keys=(client,)).model_dump_json(), encoding="utf-8")
    return {
        "RANK_ACCESS": "keys",
        "RANK_KEYS_FILE": str(keys),
        "RANK_DECISIONS": "1",
        "RANK_HOST": HOST,
        "RANK_PORT": str(task.port),
        "RANK_MODELS_DIR": task.models,
        "RANK_REDIS_URL": task.redis_url,
        "RANK_NAMESPACE": task.namespace,
        "RANK_STORE_TIMEOUT_MS": str(STORE_TIMEOUT_S * 1000),
        "RANK_LOG_LEVEL": "warning",
    }

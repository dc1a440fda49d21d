"""One process that serves, with its log."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.bench.common import ONE_THREAD, ROOT
from tests.integration.conftest import until
from tests.integration.haproxy import is_ready

_READY_S = 60.0
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Replica:
    """``python -m service`` on a port that stays the same over restarts."""

    def __init__(
        self, port: int, log: Path, environment: Mapping[str, str], module: str = "service"
    ) -> None:
        self.port = port
        self.log = log
        self.environment = dict(environment)
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("RANK_")}
        ours = {**ONE_THREAD, **self.environment, "RANK_PORT": str(self.port)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                env={**inherited, **ours},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def wait_ready(self) -> None:
        """Wait until it is ready."""
        until(lambda: self.ready, _READY_S)

    @property
    def ready(self) -> bool:
        """Whether it is ready for traffic."""
        return is_ready(self.port)

    def readiness(self) -> tuple[int, str]:
        """Return status and body of ``/readyz``."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5)
        return answer.status_code, answer.text

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill without a warning."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to stop, wait for that, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)

    def metric(self, name: str) -> float:
        """Return the sum of a metric's samples over its labels, or the sample of a full name."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text
        pattern = rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$"
        return sum(map(float, re.findall(pattern, text, re.MULTILINE)))

    def limit_descriptors(self, more: int) -> None:
        """Let it open ``more`` descriptors beyond those that are open now."""
        limit = self.descriptors() + more
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (limit, hard))

    def free_descriptors(self) -> None:
        """Lift the limit on descriptors."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (hard, hard))

    def descriptors(self) -> int:
        """Return the number of open descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def rss_mb(self) -> float:
        """Return its resident memory in MB."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_MB

    def tracebacks(self) -> int:
        """Return the number of unknown errors in its log."""
        return self.log.read_text(errors="replace").count("Traceback (most recent call last)")

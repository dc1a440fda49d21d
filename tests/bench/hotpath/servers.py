"""Starts a server on a core of its own and reads CPU time and memory of its process tree."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.common import ROOT, bound
from tests.bench.hotpath.protocol import HOST

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
_READY_S = 180.0
_LOOK_S = 0.05
_STOP_S = 20.0


class ServerError(Exception):
    """A server did not start or has ended; the message includes the end of its log."""


@dataclass(frozen=True)
class Command:
    """A command that starts a server; the path ``ready`` answers 200 once it serves."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    ready: str | None = None


@dataclass
class Server:
    """A running server and all its child processes."""

    process: subprocess.Popen[bytes]
    port: int
    core: int
    log: Path
    ready_s: float = 0.0
    _seen: set[int] = field(default_factory=set)

    def tree(self) -> list[int]:
        """Return the ids of its processes, including those that have lost their parent."""
        parents = dict(_parents())
        tree = {self.process.pid, *(self._seen & parents.keys())}
        while children := {pid for pid, parent in parents.items() if parent in tree} - tree:
            tree |= children
        self._seen = tree
        return sorted(tree & parents.keys())

    def cpu_s(self) -> float:
        """Return user and system seconds of all processes, including ended children."""
        return sum(sum(map(int, _stat(pid)[11:15])) for pid in self.tree()) * _TICK_S

    def rss_mb(self) -> float:
        """Return the sum of resident memory; shared pages count once per process."""
        return sum(int(_stat(pid)[21]) for pid in self.tree()) * _PAGE_MB

    def peak_rss_mb(self) -> float:
        """Return the peak resident memory of the first process alone."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        (peak,) = (line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 1024

    def pin(self) -> None:
        """Bind every thread to the core: onnxruntime spreads its threads over all cores."""
        for pid in self.tree():
            for thread in _listed(Path(f"/proc/{pid}/task")):
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(thread, {self.core})

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def fail(self, reason: str) -> ServerError:
        """Return an error with the reason and the end of the log."""
        tail = self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
        return ServerError(f"{reason}; {self.log} ends:\n{tail}")


@contextlib.contextmanager
def running(
    name: str, command: Command, port: int, core: int, logs: Path, probe: Callable[[], str]
) -> Iterator[Server]:
    """Run a server; the block begins once ``probe`` returns no fault, and ends all processes."""
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"{name}.log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RANK_")}
    began = time.perf_counter()
    with path.open("wb") as log, bound(core):
        process = subprocess.Popen(
            command.arguments,
            env={**environment, **command.environment},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(process, port, core, path)
    try:
        _wait(server, command.ready, probe)
        server.ready_s = time.perf_counter() - began
        server.pin()
        yield server
    finally:
        _stop(server)


def free_ports(count: int) -> list[int]:
    """Return unused ports."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def _wait(server: Server, ready: str | None, probe: Callable[[], str]) -> None:
    deadline = time.monotonic() + _READY_S
    fault = "it does not listen"
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise server.fail(f"it ended with {server.process.returncode}")
        server.tree()
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ready is not None and (answer := server.get(ready))[0] != http.HTTPStatus.OK:
                fault = f"{ready} answered {answer}"
            elif not (fault := probe()):
                return
        time.sleep(_LOOK_S)
    raise server.fail(f"it was not ready after {_READY_S:.0f} s: {fault}")


def _stop(server: Server) -> None:
    server.tree()
    server.process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(_STOP_S)
    for pid in server.tree():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait()


def _parents() -> Iterator[tuple[int, int]]:
    for pid in _listed(Path("/proc")):
        with contextlib.suppress(OSError):
            yield pid, int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the third on; the second may hold spaces."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()


def _listed(folder: Path) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    return []

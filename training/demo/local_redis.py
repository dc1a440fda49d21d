"""A private Redis server for the demo and the tests: no port, no disk, gone when the block ends."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import redis

from training.errors import TrainingError

_START_S = 10.0


@contextlib.contextmanager
def private_redis(folder: Path | None = None) -> Iterator[str]:
    """Start a server on a unix socket and yield its URL; raises TrainingError if there is none.

    The socket lies in ``folder``, or in a temporary one.
    """
    with tempfile.TemporaryDirectory(prefix="rank-redis-") as temporary:
        socket = (folder or Path(temporary)) / "redis.sock"
        command = [
            find_server(),
            *("--port", "0", "--unixsocket", str(socket), "--dir", temporary),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
        ]
        with child(command) as process:
            url = f"unix://{socket}"
            _wait(process, url)
            yield url


def find_server() -> str:
    """Return the path of redis-server: the PATH's, else the one bundled in this environment."""
    bundled = Path(sys.executable).parent / "redis-server"
    found = shutil.which("redis-server") or (str(bundled) if bundled.exists() else None)
    if found is None:
        raise TrainingError("redis-server is not on the PATH; `make setup` brings one")
    return found


@contextlib.contextmanager
def child(
    command: Sequence[str], env: dict[str, str] | None = None, *, quiet: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for the length of the block; it is ended, if need be killed, behind it."""
    output = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen(command, env=env, stdout=output, stderr=output)  # noqa: S603  # ours
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_S
    with redis.Redis.from_url(url) as client:
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(redis.RedisError):
                client.ping()
                return
            time.sleep(0.02)
    raise TrainingError("redis-server did not start")

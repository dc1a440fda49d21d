"""A private Redis server for the demo and the tests: no port, no files, ended with its block."""

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
    """Start a server on a unix socket and yield its URL.

    The socket is in ``folder``, by default a temporary one. Raises TrainingError if redis-server is
    missing or does not start.
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
    """Return the path of redis-server: that on the PATH, else that of this environment."""
    bundled = Path(sys.executable).parent / "redis-server"
    server = shutil.which("redis-server") or (str(bundled) if bundled.exists() else None)
    if server is None:
        raise TrainingError("redis-server is not on the PATH; install one with `make setup`")
    return server


@contextlib.contextmanager
def child(
    command: Sequence[str], env: dict[str, str] | None = None, *, quiet: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process during the block; then terminate it, or kill it after 15 s."""
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

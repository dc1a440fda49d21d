"""A Redis server that a scenario may kill, freeze and start again."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import redis

from tests.integration import redis_servers
from tests.integration.conftest import until


class RedisServer:
    """A server with its files in a folder: after a kill it starts again with what is there."""

    def __init__(self, folder: Path, port: int, *options: str, password: str | None) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.port = port
        self.client = redis.Redis(port=port, password=password)
        options += ("--requirepass", password) if password else ()
        self._command = redis_servers.command(folder, port, *options)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return once it answers: before, it may read its files."""
        log = (self.folder / "redis.log").open("ab")
        with log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until(lambda: redis_servers.answers(self.client))

    def kill(self) -> None:
        """Kill without a warning."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop the process; the system still accepts connections for it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the process go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the server, frozen or not."""
        self.client.close()
        self.kill()

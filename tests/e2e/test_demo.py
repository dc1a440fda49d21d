"""``make demo ONCE=1`` without make: the first thing a user runs."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import processes_that_know

COMMAND = [sys.executable, "-m", "training", "demo", "--once"]


def _demo(build: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--build", str(build), *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_demo_ranks_at_three_tradeoffs_and_leaves_nothing_running(tmp_path: Path) -> None:
    build = tmp_path / "demo"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = _demo(build, "--port", str(port))
        assert refused.returncode == 2
        assert f"error: port {port} is taken; name another: make demo PORT=" in refused.stderr
    first = _demo(build, "--port", str(port))
    assert first.returncode == 0, first.stderr[-4000:]
    assert re.search(r"tradeoff 0 +tradeoff 0.5 +tradeoff 1\n", first.stdout)
    places = re.findall(r"^ ?(\d+)  (.+)$", first.stdout, re.MULTILINE)
    assert [int(place) for place, _ in places] == list(range(1, 11))
    columns = [re.findall(r"(\S.*?) (0\.\d{3})", row) for _, row in places]
    assert all(len(row) == 3 for row in columns)
    rankings = list(zip(*columns, strict=True))
    assert [title for title, _ in rankings[0]] != [title for title, _ in rankings[2]]
    for ranking in rankings:
        scores = [float(score) for _, score in ranking]
        assert scores == sorted(scores, reverse=True)
    assert f"http://127.0.0.1:{port}/docs" in first.stdout
    assert processes_that_know(str(build)) == []

    again = _demo(build, "--port", str(port))
    assert again.returncode == 0, again.stderr[-4000:]
    assert "model of an earlier run" in again.stderr
    assert [row for _, row in places] == re.findall(r"^ ?\d+  (.+)$", again.stdout, re.MULTILINE)

"""``make demo ONCE=1`` without make: the first thing a user runs."""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import processes_that_know
from training.demo.demo import run_demo
from training.errors import TrainingError


def _demo(build: Path, port: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", "demo", "--once"]
    return subprocess.run(
        [*command, "--build", str(build), "--port", str(port)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _places(output: str) -> list[tuple[str, str]]:
    """Return the places of a printed table, and the titles and scores in each."""
    return re.findall(r"^ ?(\d+)  (.+)$", output, re.MULTILINE)


def test_the_demo_ranks_at_three_tradeoffs_and_leaves_nothing_running(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    build = tmp_path / "demo"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TrainingError, match=f"port {port} is taken; name another: make demo"):
            run_demo(build, port=port, once=True)
    first = _demo(build, port)
    assert first.returncode == 0, first.stderr[-4000:]
    assert re.search(r"tradeoff 0 +tradeoff 0.5 +tradeoff 1\n", first.stdout)
    places = _places(first.stdout)
    assert [int(place) for place, _ in places] == list(range(1, 11))
    columns = [re.findall(r"(\S.*?) (0\.\d{3}) #\d+", row) for _, row in places]
    assert all(len(row) == 3 for row in columns)
    rankings = list(zip(*columns, strict=True))
    assert [title for title, _ in rankings[0]] != [title for title, _ in rankings[2]]
    for ranking in rankings:
        scores = [float(score) for _, score in ranking]
        assert scores == sorted(scores, reverse=True)
    popular = [int(count) for count in re.findall(r"(\d+) of 10 popular", first.stdout)]
    assert popular[2] - popular[0] >= 2, "the tradeoff makes a difference that is plain to see"
    assert re.search(r"by tradeoff: \d+ % at 0, \d+ % at 0.5, \d+ % at 1\n", first.stdout)
    assert f"http://127.0.0.1:{port}/docs" in first.stdout
    assert f"http://127.0.0.1:{port}/#user=u" in first.stdout
    assert processes_that_know(str(build)) == []

    with caplog.at_level(logging.INFO):
        run_demo(build, port=port, once=True)
    assert "model of an earlier run" in caplog.text
    assert _places(capfd.readouterr().out) == places

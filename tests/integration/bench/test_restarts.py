"""The benchmark of stops runs; its figures are not asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import restarts
from tests.bench.hotpath import world as bench_world
from tests.conftest import World


def test_prints_how_requests_ended(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours = bench_world.World(world.artifact, world.dataset)
    monkeypatch.setattr(restarts, "open_world", lambda *_: ours)
    monkeypatch.setattr(restarts, "_ITEMS", 300)
    restarts.main(["--stops", "1", "--clients", "4", "--build", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 stops by SIGTERM, 4 clients"
    counts = dict(line.rsplit(maxsplit=1) for line in lines[1:-2])
    assert int(counts["200"]) > 100
    assert counts["not accepted"] == "4"

"""The benchmark of live items runs; its figures are not asserted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from service.contract.artifact import open_artifact
from service.contract.repository import Repository
from tests.bench import live_items
from tests.bench.hotpath import world as bench_world
from tests.conftest import World


def test_prints_when_items_are_ranked(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models = tmp_path / "models"
    shutil.copytree(world.artifact.path, models / "toy" / "1")
    Repository(models).promote("toy", 1)
    ours = bench_world.World(open_artifact(models / "toy" / "1"), world.dataset)
    monkeypatch.setattr(live_items, "open_world", lambda *_: ours)
    options = ["--items", "300", "--seconds", "1", "--rate", "20", "--replicas", "1"]
    live_items.main([*options, "--build", str(tmp_path)])
    printed = capsys.readouterr().out
    head = "300 items, 1 replicas with 20 rankings/s each, 5 puts/s of 10 items\n"
    assert printed.startswith(head)
    for name in ("put to its answer", "put to ranked by all", "rankings with puts"):
        row = rf"^{name} +p50 [\d.]+ ms, p99 [\d.]+ ms, longest [\d.]+ ms, \d+ of them$"
        assert re.search(row, printed, re.MULTILINE), name

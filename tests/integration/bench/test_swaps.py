"""The benchmark of swaps runs; its figures are not asserted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench.hotpath import world as bench_world
from tests.bench.swaps import __main__ as swaps
from tests.conftest import World


def test_prints_stalls_latencies_followers_and_memory(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours = bench_world.World(world.artifact, world.dataset)
    monkeypatch.setattr(swaps, "open_world", lambda *_: ours)
    monkeypatch.setattr(swaps, "_SEGMENT_S", 0.2)
    options = ["--items", "300", "--swaps", "2", "--rate", "20", "--shadow", "1", "--rollbacks"]
    swaps.main([*options, "--build", str(tmp_path)])
    printed = capsys.readouterr().out
    head = "300 items, 2 swaps, every second one a rollback, 20 requests/s, shadow 1\n"
    assert printed.startswith(head)
    for row in (
        r"longest stall +[\d.]+ ms the median of a second without a swap, [\d.]+ the worst",
        r" +[\d.]+ ms the median of a swap, [\d.]+ the worst",
        r"latency during swaps +p50 [\d.]+ ms, p99 [\d.]+ ms, longest [\d.]+ ms",
        r"p99 during / without +[\d.]+",
        r" +[\d.]+ of the median second",
        r"requests +\d+ during swaps, none lost",
        r"living followers +2",
        r"memory +\d+ MB at first, \d+ MB after the last swap",
        r" +[+-][\d.]+ MB a swap, by a line through the second half",
    ):
        assert re.search(rf"^{row}$", printed, re.MULTILINE), row

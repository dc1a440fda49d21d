"""The simulation of held targets runs; its figures are not asserted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench.controller import PHASES, main


def test_prints_each_phase_of_each_target_and_plots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "controller.png"
    main(["--rankings", "100", "--measured", "20", "--out", str(plot)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 2 * len(PHASES)
    row = r"\| \w+ [\d.]+ \| .+ \| [\d.]+ \| (\d+ rankings|never) \| [\d.]+ \| \d+% \|"
    assert all(re.fullmatch(row, line) for line in lines[2:])
    assert plot.read_bytes().startswith(b"\x89PNG")

"""The benchmark of a GPU runs on the CPU too, and says where there is no GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.bench.gpu.__main__ import main


def test_without_a_gpu_it_says_so_and_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(SystemExit) as stopped:
        main([])

    assert stopped.value.code == 2
    assert "finds no GPU here; measure on a machine with one" in capsys.readouterr().err


def test_measures_our_net_and_a_plain_loop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = "--users 300 --items 50 --rows 640 --batch-rows 64 --steps 2 --repeats 1"
    variants = ["ours-dcn-bfloat16", "plain"]

    main(["--device", "cpu", "--build", str(tmp_path), *sizes.split(), "--only", *variants])

    rows = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["variant"] for row in rows] == variants
    assert all(row["rows_per_s"] > 0 for row in rows)
    assert capsys.readouterr().out == (tmp_path / "gpu.md").read_text()

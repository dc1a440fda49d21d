"""``check`` prints what a dataset holds, and refuses what train would refuse."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.integration.training.cli.conftest import Refusal
from tests.integration.training.data.small_dataset import tables, write
from training.cli.app import main


def _check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> str:
    monkeypatch.setattr(sys, "argv", ["training", "check", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    return capsys.readouterr().out


def _write(folder: Path) -> None:
    """Write 100 rows without times, half of them clicks; one column has no meaning."""
    rows = pl.concat([tables()["impressions"].drop("timestamp", "split").head(2)] * 50)
    write(folder, impressions=rows.with_columns(time=pl.lit(3)))


def test_a_dataset_is_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path / "d")

    text = _check(monkeypatch, capsys, "--data", str(tmp_path / "d"))

    assert text.startswith("## Data\n")
    assert "| rows | 100: 100 logged, 0 uniform |" in text
    assert "| times | none: random split |" in text
    assert "- impressions.parquet: time: is not read: dataset.toml does not name it" in text
    assert "the proxy 'clicks' ranks the labels of its own rows with AUC 0.000" in text
    summary = json.loads(_check(monkeypatch, capsys, "--data", str(tmp_path / "d"), "--json"))
    assert (summary["click_rate"], summary["split_by"]) == (0.5, "random")


def test_a_bad_dataset_is_refused(refusal: Refusal, place: Path) -> None:
    assert "column 'label': the train rows have one label only" in refusal(
        "check", "--data", "data"
    )
    assert "is missing; is this a dataset folder?" in refusal("check", "--data", ".")
    (place / "data/users.parquet").unlink()
    assert "data/users.parquet: is missing" in refusal("check", "--data", "data")

"""The measurement of collecting and preparing runs, and counts right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import collect


def test_it_measures_both_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(collect, "ITEMS", 50)
    collect.speed(tmp_path, 100)
    lines = capsys.readouterr()
    text = lines.out + lines.err
    assert "collect: 100 decisions of 20 places" in text
    assert "prepare feed: 2,000 impressions with 2 proxies" in text

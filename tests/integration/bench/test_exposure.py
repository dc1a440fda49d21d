"""The benchmark of the exposure monitor runs; its figures are not asserted."""

from __future__ import annotations

import re

import pytest

from tests.bench import exposure


def test_prints_both_costs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exposure, "RANKINGS", 300)
    monkeypatch.setattr(exposure, "REPEATS", 1)
    exposure.main(["--items", "100"])
    printed = capsys.readouterr().out
    assert re.fullmatch(r"100 items: \d+\.\d us per ranking, \d+\.\d ms per scrape\n", printed)

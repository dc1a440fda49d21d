from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.fronts import make_front
from training.cli.app import app
from training.errors import ConfigError
from training.evaluation.report.schema import Report


def test_two_reports_are_compared_in_a_page(tmp_path: Path) -> None:
    report = Report(**make_front().model_dump(), baselines={})
    for name in ("before", "after"):
        (tmp_path / f"{name}.json").write_text(report.model_dump_json())
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    out = tmp_path / "new" / "page.html"

    result = CliRunner().invoke(app, ["compare", str(before), str(after), "--out", str(out)])

    assert result.exit_code == 0, result.output
    assert "| 0.25 | +0.0000 ± 0.0014 |" in result.output
    assert "<title>before and after</title>" in out.read_text()


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "cannot be read"), ('{"points": []}', "no report with a front")]
)
def test_what_is_no_report_is_named(tmp_path: Path, content: str | None, problem: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)

    result = CliRunner().invoke(app, ["compare", str(path), str(path)])

    assert isinstance(result.exception, ConfigError)
    assert str(path) in str(result.exception)
    assert problem in str(result.exception)

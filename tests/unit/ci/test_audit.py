"""A package that was not compared with the advisories is never taken for a safe one."""

from __future__ import annotations

import json
import runpy
from typing import Any

import pytest

from tests.integration.docs.pages import ROOT

AUDIT = runpy.run_path(str(ROOT / ".ci" / "audit.py"))
SAFE = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited"}
ADVISORY = {"id": "PYSEC-1", "fix_versions": ["2"]}
AT_FAULT = {"name": "c", "version": "1", "vulns": [ADVISORY]}


@pytest.mark.parametrize(
    ("packages", "code"),
    [
        ([SAFE], 0),
        ([SKIPPED], 3),
        ([SAFE, SKIPPED], 3),
        ([], 3),
        ([AT_FAULT], 1),
        ([AT_FAULT, SKIPPED], 1),
    ],
)
def test_the_exit_code(packages: list[dict[str, Any]], code: int) -> None:
    assert AUDIT["verdict"]("x.lock", json.dumps({"dependencies": packages}))[0] == code


@pytest.mark.parametrize("report", ["", "Traceback", "[]", "{}"])
def test_no_report_is_no_result(report: str) -> None:
    code, line = AUDIT["verdict"]("x.lock", report)
    assert (code, line) == (3, "x.lock: not compared, the advisories cannot be reached here")


def test_an_advisory_is_named() -> None:
    _, lines = AUDIT["verdict"]("x.lock", json.dumps({"dependencies": [AT_FAULT]}))
    assert "x.lock: c 1: PYSEC-1, mended in 2" in lines

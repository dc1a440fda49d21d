"""Every test that docs/reliability.md names exists, and it has a row for every scenario."""

from __future__ import annotations

import ast
import re

from tests.chaos import scenarios
from tests.chaos.report import BEGIN, END
from tests.chaos.scenario import SCENARIOS
from tests.integration.docs.pages import DOCS, ROOT


def test_each_fault_names_tests_that_exist() -> None:
    rows = re.findall(r"^\| (?!fault|---)(.+) \|$", (DOCS / "reliability.md").read_text(), re.M)
    assert len(rows) > 80
    missing = []
    for row in rows:
        path = None
        for name in re.findall(r"`([^`]+)`", row.rpartition(" | ")[2]):
            file, _, test = name.partition("::")
            path = ROOT / "tests" / file if file else path
            assert path is not None, f"{name} follows no file"
            if not path.is_file() or (test and test not in _functions(path.read_text())):
                missing.append(name)
    assert missing == []


def test_each_scenario_has_a_row() -> None:
    assert scenarios
    _, _, rest = (DOCS / "reliability.md").read_text().partition(BEGIN)
    measured, _, _ = rest.partition(END)
    rows = re.findall(r"^\| (.+?) \|.*\| (\w+) \|$", measured, re.M)
    verdicts = {fault: verdict for fault, verdict in rows if verdict in ("green", "red")}
    assert list(verdicts) == [entry.fault for entry in SCENARIOS.values()], "run `make chaos`"


def _functions(source: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}

"""The generated pages are those of the code, and leave nothing out."""

from __future__ import annotations

import importlib
import re
import sys

import pytest
import typer

from service.__main__ import main
from service.contract.manifest import Manifest
from service.settings import describe
from service.telemetry import Telemetry
from tests.integration.docs.pages import DOCS, GENERATED
from training.cli.app import app, leaves
from training.feed.metrics import Metrics


def test_the_pages_are_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS / "tools")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    pages = importlib.import_module("reference").PAGES
    assert {path.stem for path in GENERATED.glob("*.md")} == set(pages)
    for name, page in pages.items():
        assert (GENERATED / f"{name}.md").read_text() == page(), "run make reference"


def _documented(page: str) -> dict[str, str]:
    """Return each name in the first column of a page's tables, with its row's last column."""
    rows = re.findall(r"^\| (`.+?) \|.* \| (.*) \|$", (GENERATED / page).read_text(), re.MULTILINE)
    return {name: text for names, text in rows for name in re.findall(r"`([^`]+)`", names)}


def test_every_setting_is_described() -> None:
    documented = _documented("settings.md")
    assert set(documented) == {variable for variable, *_ in describe()}
    assert all(documented.values())


def test_every_metric_is_described() -> None:
    documented = _documented("metrics.md")
    registries = (Telemetry().registry, Metrics().registry)
    families = {family.name for registry in registries for family in registry.collect()}
    assert {name.removesuffix("_total") for name in documented} == families
    assert all(documented.values())


def test_every_command_and_option_is_described() -> None:
    page = (GENERATED / "cli.md").read_text()
    for name, command in leaves(typer.main.get_command(app)):
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert command.help
        for parameter in command.params:
            option = parameter.opts[0]
            shown = option if option.startswith("-") else parameter.name.upper()
            assert f"`{shown}`" in section, (name, shown)
            assert parameter.help, f"{name} {shown} has no help"


@pytest.mark.parametrize(("heading", "arguments"), [("serve", ()), ("keys", ("keys", "add"))])
def test_every_option_of_the_service_is_described(
    heading: str,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["service", *arguments, "--help"])
    with pytest.raises(SystemExit):
        main()
    text = capsys.readouterr().out
    options = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, re.MULTILINE)) - {"--help"}
    section = (GENERATED / "cli.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE)) == options


def test_every_field_of_the_manifest_is_listed() -> None:
    page = (GENERATED / "manifest.md").read_text()
    schema = Manifest.model_json_schema()
    head, *sections = page.split("\n### ")
    fields = {section.split("\n")[0]: section for section in sections} | {"": head}
    for name, table in {"": schema, **schema["$defs"]}.items():
        for field in table["properties"]:
            assert f"| `{field}` |" in fields[name], (name, field)

"""The site builds without a warning, and needs no other host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.docs.pages import DOCS, ROOT

QUIET = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a configuration, strictly."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(
        [*command, "--config-file", str(config), "--site-dir", str(site)],
        env=QUIET,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site once."""
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there_and_no_tool(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    pages = {page.parent if page.name in ("index", "README") else page for page in pages}
    built = {path.parent.relative_to(site) for path in site.rglob("index.html")}
    assert built == pages
    assert not (site / "tools").exists()


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)|<link\b[^>]*\bhref=\"([^\"]+)"
    )
    for page in site.rglob("*.html"):
        targets = ["".join(found) for found in loads.findall(page.read_text())]
        assert targets
        assert not [target for target in targets if re.match(r"(\w+:)?//", target)], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", sheet.read_text()), sheet


def test_broken_links_fail_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (tmp_path / "README.md").write_text("# Readme\n")
    broken = "[a](gone.md) [b](api.md#gone) [c](../service/gone.py) [d](../README.md#gone)"
    (docs / "index.md").write_text(f"# Index\n\n[whole](../README.md#readme) {broken}\n")
    (docs / "api.md").write_text("# API\n")
    config = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[0]
    config = config.replace("docs/tools/", f"{DOCS}/tools/")
    (tmp_path / "mkdocs.yml").write_text(config)
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert "Aborted with 4 warnings in strict mode" in output
    assert "index.md links to '../service/gone.py': no such file" in output
    assert "index.md links to '../README.md#gone': no such heading" in output

"""The README is short, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.docs.pages import ROOT

LONGEST = 1000  # words, as `wc -w` counts


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= LONGEST


@pytest.mark.parametrize("page", ["README.md", "models/README.md", "CHANGELOG.md"])
def test_links_lead_to_files_and_headings(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"\w+://", target):
            continue
        file, _, heading = target.partition("#")
        assert (path.parent / file).exists(), target
        if heading:
            assert heading in _anchors(path.parent / file), target


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).strip().lower().replace(" ", "-") for text in headings}

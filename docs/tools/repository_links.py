"""MkDocs hook: links from pages to files of the repository, which the site does not hold.

The repository shows them as links, the site as their text. A link to a file that does not exist is
a warning, so that a strict build fails.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from markdown.extensions.toc import slugify

logger = logging.getLogger("mkdocs.hooks.repository_links")

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a Markdown page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {slugify(heading, "-") for heading in headings}


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Return the page with each link that leaves the documentation replaced by its text."""
    source, documentation = Path(page.file.abs_src_path), Path(config.docs_dir).resolve()

    def text(link: re.Match[str]) -> str:
        target = (source.parent / link[2]).resolve()
        if target.is_relative_to(documentation):
            return link[0]
        if not target.exists():
            logger.warning("%s links to '%s': no such file", page.file.src_uri, link[2])
        elif link[3] and link[3][1:] not in anchors(target):
            place = link[2] + link[3]
            logger.warning("%s links to '%s': no such heading", page.file.src_uri, place)
        return link[1]

    return _LINK.sub(text, markdown)

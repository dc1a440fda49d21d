"""The pages of the documentation: their code blocks and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
GENERATED = DOCS / "reference"
PAGES = (
    ROOT / "README.md",
    ROOT / "models" / "README.md",
    *sorted(path for path in DOCS.rglob("*.md") if path.parent != GENERATED),
)
PROGRAMS = (
    *("make", "python", "paretorank", "torchrun", "spark-submit"),
    *("pip", "npm", "curl", "docker", "kubectl"),
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?<=\n\n)((?:    .*\n)+)")
_INLINE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Command:
    """A command line of a page; ``block`` is False where it stands within a sentence."""

    page: str
    text: str
    block: bool

    @property
    def words(self) -> list[str]:
        """The words that a shell makes of it."""
        return shlex.split(self.text, comments=True)


def name(path: Path) -> str:
    """Return a page's path from the root of the repository."""
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page in one language."""
    return [text for found, text in _FENCE.findall(path.read_text()) if found == language]


def commands(path: Path) -> list[Command]:
    """Return the commands of a page: in ``sh`` fences, indented blocks and sentences."""
    text = path.read_text()
    prose = _FENCE.sub("", text)
    page = name(path)
    lines = [line for block in blocks(path, "sh") for line in _lines(block)]
    for block in _INDENTED.findall(prose):
        lines += [line for line in _lines(re.sub(r"^    ", "", block, flags=re.M)) if _runs(line)]
    sentences = [" ".join(span.split()) for span in _INLINE.findall(_INDENTED.sub("", prose))]
    return [Command(page, line, block=True) for line in lines] + [
        Command(page, span, block=False) for span in sentences if _runs(span) and " " in span
    ]


def _runs(line: str) -> bool:
    return line.split(" ", 1)[0] in PROGRAMS


def _lines(block: str) -> Iterator[str]:
    """Yield the command lines of a block; an open quotation goes on in the next line."""
    line = ""
    for part in block.splitlines():
        line = f"{line}\n{part}" if line else part
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # the quotation is open
            continue
        if words:
            yield line
        line = ""

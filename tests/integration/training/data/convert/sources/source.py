"""A source folder in its owners' format, and the properties of the dataset made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

Files = Mapping[str, bytes]  # path in the folder -> content


@dataclass(frozen=True)
class Source:
    """A tiny source folder, and the promises of its converter.

    files: the folder. optional: names of those that the converter does without. flips: for each
    impression with an outcome, the files that change when the outcome is the opposite. labels: the
    labels that occur. uniform: whether the dataset has uniformly exposed rows. timed: whether it
    has times. statistics: whether proxies are counted from outcomes; otherwise they are one
    value an item.
    """

    files: Files
    flips: tuple[Files, ...]
    optional: frozenset[str] = frozenset()
    labels: frozenset[int] = frozenset({0, 1})
    uniform: bool = True
    timed: bool = True
    statistics: bool = True

    def write(self, folder: Path, changes: Files | None = None) -> Path:
        """Write the folder, with ``changes`` in place of its own files, and return it."""
        for name, content in {**self.files, **(changes or {})}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder


def encoded(files: Mapping[str, str], encoding: str = "utf-8") -> dict[str, bytes]:
    """Return text files as bytes."""
    return {name: text.encode(encoding) for name, text in files.items()}


def changed_lines(text: str, change: Callable[[str], str], *, header: int = 1) -> Iterator[str]:
    """Yield ``text`` once for each line after the header, with that line changed."""
    lines = text.splitlines(keepends=True)
    for row in range(header, len(lines)):
        yield "".join([*lines[:row], change(lines[row]), *lines[row + 1 :]])


def toggled(separator: str, column: int) -> Callable[[str], str]:
    """Return a change of a line: 0 becomes 1 and 1 becomes 0 in one of its fields."""

    def change(line: str) -> str:
        fields = line.split(separator)
        fields[column] = {"0": "1", "1": "0"}[fields[column]]
        return separator.join(fields)

    return change

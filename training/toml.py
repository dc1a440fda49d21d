"""TOML text and files, with one error for each kind of fault."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from training.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

Document = TypeVar("Document", bound="BaseModel")


def parse(text: str) -> dict[str, Any]:
    """Return the table that ``text`` describes; raises ValueError if it is not TOML."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("its arrays or tables are nested too deeply") from None


def read_document(path: Path, kind: type[Document], of: str, root: str) -> Document:
    """Return the document in the file ``path``; raises ConfigError naming the first bad entry.

    It is the file ``of`` something; an error that concerns no single entry names ``root``.
    """
    from pydantic import ValidationError  # the help of commands, which parses TOML, needs none

    try:
        return kind.model_validate(parse(path.read_text(encoding="utf-8-sig")))
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(map(str, first["loc"])) or root
        problem = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path}: {entry}: {problem}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name the TOML file of {of}") from error

"""Exceptions of the training package. The command line prints their messages and exits with 2."""

from __future__ import annotations

import errno
from pathlib import Path


class TrainingError(Exception):
    """Base of all errors that a user can mend."""


class DatasetError(TrainingError):
    """Bad data. The message names the file, the column, the first bad row and the mend."""

    def __init__(
        self, file: Path, problem: str, *, column: str | None = None, row: int | None = None
    ) -> None:
        place = str(file)
        if column is not None:
            place += f", column {column!r}"
        if row is not None:
            place += f", row {row}"
        super().__init__(f"{place}: {problem}")
        self.file, self.column, self.row, self.problem = file, column, row, problem


class ConfigError(TrainingError):
    """A bad configuration, or an option that it or the dataset does not allow."""


class ExportError(TrainingError):
    """An artifact whose graphs do not give the trained net's scores."""


class PublishError(TrainingError):
    """Records that could not be written to Redis."""


_NOT_ALLOWED = "change its permissions or name another place"
_NO_ROOM = "make room there or name another place"
_MENDS = {
    errno.ENOENT: "make it or name another place",
    errno.ENOTDIR: "it, or a part of its path, is a file where a folder belongs; name a folder",
    errno.EEXIST: "move it away or name another place",
    errno.EISDIR: "a file belongs there; move the folder away or name another place",
    errno.ENOTEMPTY: "move what is in it away or name another place",
    errno.ELOOP: "mend its symbolic links",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EROFS: "name a place that can be written",
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: "raise the limit of its size or name another place",
    errno.EIO: "the device fails; name another place",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit of open files",
    errno.ENOLCK: "its file system has no locks; name a folder on another one",
    errno.EOPNOTSUPP: "its file system cannot do this; name a folder on another one",
}


def place_problem(error: OSError) -> str | None:
    """Return place, problem and mend of a file or folder that the system refuses.

    Returns None for an error of another kind, such as a connection's.
    """
    mend = _MENDS.get(error.errno or 0)
    if mend is None:
        return None
    place = error.filename if error.filename is not None else "a file"
    return f"{place}: {error.strerror}; {mend}"

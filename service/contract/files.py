"""Digests, atomic writes, locks and staged folders: nothing half-written is ever seen or left."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

_LOCK = ".lock"
_TEMPORARY = ".tmp"


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Replace ``path`` by ``content``: a reader sees the old bytes or all of the new ones."""
    with replaced(path) as file:
        file.write(content)


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that replaces ``path`` at the end of the block.

    Several processes may write at once. A write that fails leaves no file; one that is killed
    leaves a hidden one, which ``locked(path)`` removes.
    """
    temporary = _temporary(path)
    try:
        with named(path):
            with temporary.open("wb") as file:
                yield file
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Flush a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Add ``path`` to an OSError that names no file, such as a full disk's."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def check_folder(folder: Path) -> None:
    """Raise OSError unless files can be made in ``folder``, which need not exist yet."""
    whole = folder.absolute()
    existing = next(path for path in (whole, *whole.parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(existing))
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        error.filename = str(existing)
        raise


def check_file(path: Path) -> None:
    """Raise OSError unless ``write_atomically(path, ...)`` can make or replace the file."""
    check_folder(path.parent)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if len(os.fsencode(_temporary(path).name)) > os.pathconf("/", "PC_NAME_MAX"):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[Path], None] | None = None) -> Iterator[None]:
    """Hold the lock of ``path``, a file ``<path>.lock``, for which other processes wait.

    ``waiting`` is called with the lock file if another process holds it. The system releases the
    lock of a process that dies. What killed writers of ``path`` left is removed first.
    """
    descriptor = _lock(path, wait=False)
    if descriptor is None:
        if waiting is not None:
            waiting(_lock_file(path))
        descriptor = _lock(path, wait=True)
    try:
        for sibling in path.parent.iterdir():
            if sibling.name.startswith(f".{path.name}.") and sibling.suffix == _TEMPORARY:
                sibling.unlink(missing_ok=True)
        yield
    finally:
        _release(path, descriptor)


@contextlib.contextmanager
def try_locked(path: Path) -> Iterator[bool]:
    """Hold the lock of ``path`` as ``locked`` does; yield False at once if another one holds it."""
    descriptor = _lock(path, wait=False)
    try:
        yield descriptor is not None
    finally:
        _release(path, descriptor)


@contextlib.contextmanager
def staged_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield an empty folder in ``parent``, as an absolute path; it is removed unless renamed.

    The folders that killed processes left under ``prefix`` are removed first.
    """
    parent = parent.absolute()
    for lock_file in list(parent.iterdir()):
        if lock_file.name.startswith(prefix) and lock_file.suffix == _LOCK:
            with contextlib.suppress(PermissionError):  # another user's
                _remove_abandoned(lock_file.with_suffix(""))
    folder = parent / f"{prefix}{secrets.token_hex(8)}"
    with locked(folder), named(parent):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove a staged folder and its lock unless a living process holds it."""
    descriptor = _lock(folder, wait=False)
    if descriptor is not None:
        shutil.rmtree(folder, ignore_errors=True)
        _release(folder, descriptor)


def _lock_file(path: Path) -> Path:
    return path.with_name(f"{path.name}{_LOCK}")


def _lock(path: Path, *, wait: bool) -> int | None:
    """Return a descriptor that holds the lock of ``path``; None if it is held and not ``wait``."""
    while True:
        descriptor = os.open(_lock_file(path), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before may have removed the file after it was opened here.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(_lock_file(path)), os.fstat(descriptor)):
                    return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _release(path: Path, descriptor: int | None) -> None:
    if descriptor is not None:
        _lock_file(path).unlink(missing_ok=True)
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")

"""The model repository on disk: ``models/<name>/<version>/`` and ``models/<name>/aliases.json``.

An artifact is immutable: it is written under a temporary name, synced, and renamed into place.
Versions are 1, 2, 3, ...; an alias such as ``champion`` names one of them. ``models/default.json``
names the model for requests that name none. ``contract.rollout`` has the files beside the aliases.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from service.contract import CHAMPION
from service.contract.artifact import MANIFEST, Artifact, ArtifactError, open_artifact
from service.contract.files import check_file, locked, staged_folder, sync, write_atomically
from service.contract.manifest import Name
from service.contract.rollout import HISTORY, read_history, record_move

ALIASES = "aliases.json"
DEFAULT = "default.json"

_NAMES = "lower-case letters, digits, - and _, a letter or digit first, at most 64"
_NAME = TypeAdapter(Name)
_TABLE = TypeAdapter(dict[Name, int])
_VERSION = re.compile(r"[1-9][0-9]{0,17}")  # str.isdigit accepts what int() does not


class _Default(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}(@[a-z0-9][a-z0-9_-]{0,63})?$")


class Repository:
    """The folder ``models/``: finds and adds versions, reads and moves aliases."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Return the model names that have at least one version, sorted."""
        return [name for name in self.folders() if self.versions(name)]

    def folders(self) -> list[str]:
        """Return the names of the folders that may hold a model, sorted; none without a repository.

        Raises ArtifactError if the repository cannot be read.
        """
        try:
            paths = [path for path in self.root.iterdir() if _is_name(path.name)]
            return sorted(path.name for path in paths if path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self.root, error) from error

    def versions(self, name: str) -> list[int]:
        """Return the versions of ``name``, oldest first."""
        folder = self.root / name
        if not folder.is_dir():
            return []
        numbered = (path for path in folder.iterdir() if _VERSION.fullmatch(path.name))
        return sorted(int(path.name) for path in numbered if path.is_dir())

    def path(self, name: str, version: int) -> Path:
        """Return the folder of one version."""
        return self.root / name / str(version)

    def check_present(self, name: str, version: int) -> None:
        """Raise ArtifactError if one version is missing; only looks for its manifest."""
        path = self.path(name, version) / MANIFEST
        try:
            path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error

    def aliases(self, name: str, *, required: bool = False) -> dict[str, int]:
        """Return alias -> version of ``name``, by default empty without ``aliases.json``.

        Raises ArtifactError if the file is invalid, cannot be read, or is required and missing.
        """
        path = self.root / name / ALIASES
        try:
            aliases = _TABLE.validate_json(path.read_bytes())
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not required:
                return {}
            raise _unreadable(path, error) from error
        except ValidationError as error:
            reason = f"is not a table of alias to version: {error.errors()[0]['msg']}"
            raise ArtifactError(path, reason) from error
        for alias in aliases:
            self.check_alias(name, alias)
        return aliases

    def default(self, *, required: bool = False) -> str | None:
        """Return the reference that serves requests without one: ``name`` or ``name@alias``.

        None without ``default.json``. Raises ArtifactError if the file is invalid, cannot be read,
        or is required and missing.
        """
        path = self.root / DEFAULT
        try:
            return _Default.model_validate_json(path.read_bytes()).model
        except OSError as error:
            absent = isinstance(error, FileNotFoundError | NotADirectoryError)
            if absent and not required:
                return None
            raise _unreadable(path, error) from error
        except ValidationError as error:
            raise ArtifactError(
                path, f"names no default model: {error.errors()[0]['msg']}"
            ) from error

    def check_name(self, name: str) -> None:
        """Raise ArtifactError unless ``name`` is a valid name of a model."""
        if not _is_name(name):
            raise ArtifactError(self.root / name, f"{name!r} is no name: {_NAMES}")

    def check_alias(self, name: str, alias: str) -> None:
        """Raise ArtifactError unless ``alias`` is valid; a number would hide a version."""
        if not _is_name(alias) or _VERSION.fullmatch(alias):
            reason = f"{alias!r} is no alias: {_NAMES}, and no number"
            raise ArtifactError(self.root / name / ALIASES, reason)

    def check_aliases(self, name: str) -> None:
        """Raise ArtifactError or OSError unless an alias of ``name`` can be moved."""
        self.aliases(name)
        read_history(self.root / name)
        for path in (self.root / name / ALIASES, self.root / name / HISTORY, self.root / DEFAULT):
            check_file(path)

    def resolve(self, reference: str, alias: str = CHAMPION) -> Path:
        """Return the folder of ``name``, ``name@version`` or ``name@alias``.

        A bare name means its ``alias`` if that is set, else its newest version. Raises
        ArtifactError if there is no such version.
        """
        name, _, suffix = reference.partition("@")
        if name not in (names := self.names()):  # a name never leads out of the repository
            choice = ", ".join(names) or "none"
            raise ArtifactError(self.root / name, f"no such model (there are: {choice})")
        versions, aliases = self.versions(name), self.aliases(name)
        if _VERSION.fullmatch(suffix):
            version = int(suffix)
        elif suffix or alias in aliases:
            if (suffix or alias) not in aliases:
                choice = ", ".join(sorted(aliases)) or "none"
                raise ArtifactError(self.root / name, f"no alias {suffix!r} (there are: {choice})")
            version = aliases[suffix or alias]
        else:
            version = versions[-1]
        if version not in versions:
            raise ArtifactError(self.path(name, version), "no such version")
        return self.path(name, version)

    def promote(
        self, name: str, version: int, alias: str = CHAMPION, *, again: bool = False
    ) -> int | None:
        """Move ``alias`` to ``version`` atomically; return its version before, None if it is new.

        The first champion of a repository becomes its default; a later one leaves the default where
        it is. A move to the version that the alias has is recorded only as one ``again``: services
        that returned the version then try it once more. Raises ArtifactError if the artifact of
        ``version`` is invalid.
        """
        self.check_alias(name, alias)
        open_artifact(self.path(name, version))
        return self.move_alias(name, alias, lambda _: version, again=again)

    def move_alias(
        self,
        name: str,
        alias: str,
        choose: Callable[[int | None], int | None],
        *,
        undo: bool = False,
        again: bool = False,
        before: Callable[[], object] = bool,
    ) -> int | None:
        """Move ``alias`` to the version that ``choose`` returns for its present one; return that.

        None removes the alias. Writers of the aliases wait until it is done: ``before`` is called
        in between, to write what must be there once the alias has moved.
        """
        self.check_alias(name, alias)
        path = self.root / name / ALIASES
        if alias == CHAMPION:
            self._keep_default(name)
        with locked(path):  # else one of two promotions at once would be lost
            aliases = self.aliases(name)
            previous = aliases.pop(alias, None)
            before()
            if (version := choose(previous)) is not None:
                aliases[alias] = version
                if again or version != previous:
                    # Before the aliases: a reader that sees the alias moved finds the move.
                    record_move(path.parent, alias, previous, version, undo=undo)
            write_atomically(path, json.dumps(aliases, indent=2, sort_keys=True).encode())
        return previous

    def make_default(self, name: str, alias: str = CHAMPION) -> None:
        """Let ``alias`` of ``name`` serve the requests that name no model, from now on."""
        path = self.root / DEFAULT
        with locked(path):
            self._write_default(name if alias == CHAMPION else f"{name}@{alias}")

    def _keep_default(self, name: str) -> None:
        """Record the default that services infer, before a champion of ``name`` makes them unable.

        That is the only champion, or ``name`` if there is none. Of several, none is the default.
        Nothing is recorded over a file that is damaged, nor while the aliases of another model
        cannot be read.
        """
        if (self.root / DEFAULT).exists():
            return
        with locked(self.root / DEFAULT), contextlib.suppress(ArtifactError):
            champions = [other for other in self.folders() if CHAMPION in self.aliases(other)]
            if self.default() is None and len(champions) <= 1:
                self._write_default(*champions or [name])

    def _write_default(self, reference: str) -> None:
        content = _Default(model=reference).model_dump_json(indent=2)
        write_atomically(self.root / DEFAULT, content.encode())

    @contextlib.contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """Yield an empty folder next to the versions; it is removed unless added.

        The folders that killed processes left are removed first.
        """
        self.check_name(name)
        parent = self.root / name
        parent.mkdir(parents=True, exist_ok=True)
        with staged_folder(parent, ".staging-") as folder:
            yield folder

    def add(self, name: str, staged: Path) -> Artifact:
        """Verify and sync a staged folder, then rename it to the next free version."""
        manifest = open_artifact(staged).manifest
        folder_mode = 0o755  # whatever the umask: another user may run the service
        staged.chmod(folder_mode)
        for file in staged.iterdir():
            sync(file)
        sync(staged)
        version = max(self.versions(name), default=0) + 1
        while True:
            try:
                staged.rename(self.path(name, version))
                break
            except OSError:  # another training run took this number
                if not self.path(name, version).exists():
                    raise
                version += 1
        sync(self.root / name)
        return Artifact(self.path(name, version), manifest)


def _is_name(text: str) -> bool:
    try:
        _NAME.validate_python(text)
    except ValidationError:
        return False
    return True


def _unreadable(path: Path, error: OSError) -> ArtifactError:
    missing = isinstance(error, FileNotFoundError)
    return ArtifactError(path, "is missing" if missing else f"cannot be read: {error.strerror}")

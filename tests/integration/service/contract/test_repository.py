"""Finding versions and moving aliases."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NoReturn

import pytest

from service.contract.repository import Repository
from tests.integration.service.contract.conftest import Publish, refusal
from tests.integration.unreadable_file import REASON, UNREADABLE


def test_a_repository_that_does_not_exist_is_empty(repository: Repository) -> None:
    assert repository.names() == []
    assert repository.versions("demo") == []
    assert repository.aliases("demo") == {}


def test_versions_are_sorted_as_numbers(repository: Repository, publish: Publish) -> None:
    for version in (10, 9, 2):
        publish(version)

    assert repository.versions("demo") == [2, 9, 10]
    assert repository.resolve("demo") == repository.root / "demo" / "10"


def test_only_folders_named_by_a_number_are_versions(
    repository: Repository, publish: Publish
) -> None:
    publish(3)
    for other in (".staging-x", "v4", "05", "²", "0", "-6"):
        (repository.root / "demo" / other).mkdir()
    (repository.root / "demo" / "7").write_text("a file")

    assert repository.versions("demo") == [3]


def test_names_are_the_folders_with_a_version(repository: Repository, publish: Publish) -> None:
    publish(1)
    (repository.root / "zeta" / "2").mkdir(parents=True)
    (repository.root / "alpha" / "1").mkdir(parents=True)
    (repository.root / "empty").mkdir()
    (repository.root / "README.md").write_text("models")

    assert repository.names() == ["alpha", "demo", "zeta"]


@pytest.mark.parametrize(
    ("reference", "version"),
    [("demo", 2), ("demo@2", 2), ("demo@10", 10), ("demo@champion", 2), ("demo@shadow", 9)],
)
def test_a_reference_resolves(
    repository: Repository, publish: Publish, reference: str, version: int
) -> None:
    for each in (2, 9, 10):
        publish(each)
    repository.promote("demo", 2)
    repository.promote("demo", 9, "shadow")

    assert repository.resolve(reference) == repository.root / "demo" / str(version)


def test_a_bare_name_follows_the_given_alias_else_the_newest_version(
    repository: Repository, publish: Publish
) -> None:
    for each in (1, 2, 3):
        publish(each)
    repository.promote("demo", 1)
    repository.promote("demo", 2, "shadow")

    assert repository.resolve("demo", alias="shadow").name == "2"
    assert repository.resolve("demo", alias="canary").name == "3"


@pytest.mark.parametrize(
    ("reference", "file", "reason"),
    [
        ("nope", "nope", "no such model (there are: demo, zeta)"),
        ("nope@1", "nope", "no such model (there are: demo, zeta)"),
        ("README.md", "README.md", "no such model (there are: demo, zeta)"),
        ("", "", "no such model (there are: demo, zeta)"),
        ("demo@3", "demo/3", "no such version"),
        ("demo@gone", "demo/7", "no such version"),
        ("demo@canary", "demo", "no alias 'canary' (there are: champion, gone)"),
        ("demo@²", "demo", "no alias '²' (there are: champion, gone)"),
        ("demo@-1", "demo", "no alias '-1' (there are: champion, gone)"),
        ("demo@1@1", "demo", "no alias '1@1' (there are: champion, gone)"),
        ("zeta@champion", "zeta", "no alias 'champion' (there are: none)"),
    ],
)
def test_a_reference_to_nothing_is_refused_with_the_names_that_exist(
    repository: Repository, publish: Publish, reference: str, file: str, reason: str
) -> None:
    publish(1)
    (repository.root / "zeta" / "1").mkdir(parents=True)
    (repository.root / "README.md").write_text("models")
    (repository.root / "demo" / "aliases.json").write_text('{"champion": 1, "gone": 7}')

    error = refusal(lambda: repository.resolve(reference))

    assert (error.file, error.reason) == (repository.root / file, reason)


def test_a_reference_into_an_empty_repository_is_refused(repository: Repository) -> None:
    error = refusal(lambda: repository.resolve("demo"))

    assert error.file == repository.root / "demo"
    assert error.reason == "no such model (there are: none)"


@pytest.mark.parametrize("name", ["../outside", "demo/../../outside", ".", "..", "\0", "x" * 300])
def test_a_name_is_a_folder_of_the_repository_and_nothing_else(
    repository: Repository, publish: Publish, name: str
) -> None:
    publish(1)
    (repository.root.parent / "outside" / "1").mkdir(parents=True)
    (repository.root / "1").mkdir()

    error = refusal(lambda: repository.resolve(f"{name}@1"))

    assert error.reason.startswith("no such model")


def test_an_absolute_name_is_refused(repository: Repository, publish: Publish) -> None:
    folder = publish(1)

    error = refusal(lambda: repository.resolve(f"{folder.parent}@1"))

    assert error.reason == "no such model (there are: demo)"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"champion": "one"}', b'{"Champion": 1}', b"\xff"]
)
def test_broken_aliases_are_refused(
    repository: Repository, publish: Publish, content: bytes
) -> None:
    publish(1)
    path = repository.root / "demo" / "aliases.json"
    path.write_bytes(content)

    for action in (
        lambda: repository.aliases("demo"),
        lambda: repository.resolve("demo"),
        lambda: repository.promote("demo", 1),
    ):
        error = refusal(action)
        assert error.file == path
        assert error.reason.startswith("is not a table of alias to version: ")
    assert path.read_bytes() == content


def test_only_a_missing_table_of_aliases_counts_as_empty(
    repository: Repository, publish: Publish
) -> None:
    publish(1)
    path = repository.root / "demo" / "aliases.json"

    assert repository.aliases("demo") == {}
    error = refusal(lambda: repository.aliases("demo", required=True))
    assert (error.file, error.reason) == (path, "is missing")

    path.symlink_to(UNREADABLE)
    error = refusal(lambda: repository.aliases("demo"))
    assert (error.file, error.reason) == (path, REASON)


def test_a_repository_that_cannot_be_listed_is_no_empty_one(repository: Repository) -> None:
    repository.root.write_text("a file")

    for action in (repository.folders, repository.names):
        error = refusal(action)
        assert (error.file, error.reason) == (repository.root, "cannot be read: Not a directory")


def test_a_version_without_its_manifest_is_missing(
    repository: Repository, publish: Publish
) -> None:
    manifest = publish(1) / "manifest.json"
    repository.check_present("demo", 1)
    manifest.unlink()

    error = refusal(lambda: repository.check_present("demo", 1))
    assert (error.file, error.reason) == (manifest, "is missing")


def test_promote_moves_one_alias_and_returns_the_version_it_left(
    repository: Repository, publish: Publish
) -> None:
    for each in (1, 2):
        publish(each)

    assert repository.promote("demo", 1) is None
    assert repository.promote("demo", 1, "shadow") is None
    assert repository.promote("demo", 2) == 1
    assert repository.promote("demo", 1) == 2
    assert repository.promote("demo", 2, "shadow") == 1

    assert repository.aliases("demo") == {"champion": 1, "shadow": 2}
    written = (repository.root / "demo" / "aliases.json").read_text()
    assert json.loads(written) == {"champion": 1, "shadow": 2}


def test_promote_leaves_no_other_file(repository: Repository, publish: Publish) -> None:
    publish(1)

    repository.promote("demo", 1)

    assert sorted(os.listdir(repository.root / "demo")) == ["1", "aliases.json", "history.json"]


def test_a_corrupted_artifact_cannot_be_promoted(repository: Repository, publish: Publish) -> None:
    publish(1)
    file = publish(2) / "item_encoder.onnx"
    repository.promote("demo", 1)
    file.write_bytes(file.read_bytes() + b"\0")

    error = refusal(lambda: repository.promote("demo", 2))

    assert error.file == file
    assert "SHA-256" in error.reason
    assert repository.aliases("demo") == {"champion": 1}


def test_a_version_that_does_not_exist_cannot_be_promoted(
    repository: Repository, publish: Publish
) -> None:
    publish(1)

    error = refusal(lambda: repository.promote("demo", 2))

    assert (error.file, error.reason) == (repository.root / "demo/2/manifest.json", "is missing")
    assert repository.aliases("demo") == {}


@pytest.mark.parametrize("alias", ["", "Champion", "a b", "../x", "a" * 65, "2"])
def test_an_alias_must_be_a_name(repository: Repository, publish: Publish, alias: str) -> None:
    publish(1)

    error = refusal(lambda: repository.promote("demo", 1, alias))

    assert error.file == repository.root / "demo/aliases.json"
    assert error.reason.startswith(f"{alias!r} is no alias: ")
    assert repository.aliases("demo") == {}


def test_promote_replaces_the_old_aliases_by_the_whole_new_ones_at_once(
    repository: Repository, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (1, 2):
        publish(each)
    repository.promote("demo", 1)
    aliases = repository.root / "demo" / "aliases.json"
    history = repository.root / "demo" / "history.json"
    seen: list[tuple[Path, object, object]] = []
    replace = Path.replace

    def spy(self: Path, target: Path) -> Path:
        seen.append((target, json.loads(target.read_text()), json.loads(self.read_text())))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    repository.promote("demo", 2)

    assert [target for target, _, _ in seen] == [history, aliases]  # the move before the alias
    assert seen[1] == (aliases, {"champion": 1}, {"champion": 2})
    assert json.loads(aliases.read_text()) == {"champion": 2}


def test_a_crash_while_promoting_leaves_the_old_aliases(
    repository: Repository, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (1, 2):
        publish(each)
    repository.promote("demo", 1)

    def full(_: int) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        repository.promote("demo", 2)

    assert repository.aliases("demo") == {"champion": 1}
    assert repository.versions("demo") == [1, 2]

"""Adding a version: staged, verified, renamed into place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from service.contract.repository import Repository
from tests.integration.service.contract.conftest import Fill, Publish, refusal


def test_add_publishes_the_staged_folder_as_the_next_version(
    repository: Repository, fill: Fill
) -> None:
    for expected in (1, 2):
        with repository.staging("demo") as staged:
            assert list(staged.iterdir()) == []
            assert staged.parent == repository.root / "demo"
            artifact = repository.add("demo", fill(staged, b"run %d" % expected))
        assert artifact.version == expected
        assert artifact.path == repository.root / "demo" / str(expected)
        assert artifact.graph("ranker").read_bytes() == b"ranker.onnxrun %d" % expected

    assert sorted(os.listdir(repository.root / "demo")) == ["1", "2"]


def test_the_next_version_follows_the_highest_number(
    repository: Repository, publish: Publish, fill: Fill
) -> None:
    for each in (2, 9, 10):
        publish(each)

    with repository.staging("demo") as staged:
        assert repository.add("demo", fill(staged)).version == 11


def test_a_published_folder_can_be_read_by_another_user(repository: Repository, fill: Fill) -> None:
    with repository.staging("demo") as staged:
        artifact = repository.add("demo", fill(staged))

    assert artifact.path.stat().st_mode & 0o777 == 0o755


def test_a_number_that_another_run_took_is_skipped(
    repository: Repository, publish: Publish, fill: Fill
) -> None:
    class Late(Repository):
        """Listed the versions before the other runs had renamed theirs."""

        def versions(self, name: str) -> list[int]:
            return [version for version in super().versions(name) if version < 2]

    folders = [publish(version) for version in (1, 2, 3, 4)]
    before = [(folder / "ranker.onnx").read_bytes() for folder in folders]
    late = Late(repository.root)

    with late.staging("demo") as staged:
        artifact = late.add("demo", fill(staged, b"late"))

    assert artifact.version == 5
    assert (artifact.path / "ranker.onnx").read_bytes() == b"ranker.onnxlate"
    assert [(folder / "ranker.onnx").read_bytes() for folder in folders] == before
    assert repository.versions("demo") == [1, 2, 3, 4, 5]


def test_a_rename_that_fails_for_another_reason_is_raised(
    repository: Repository, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", forbidden)

    with (
        pytest.raises(PermissionError, match="Permission denied"),
        repository.staging("demo") as staged,
    ):
        repository.add("demo", fill(staged))
    assert os.listdir(repository.root / "demo") == []


def test_a_broken_staged_artifact_never_becomes_a_version(
    repository: Repository, publish: Publish, fill: Fill
) -> None:
    publish(1)

    with repository.staging("demo") as staged:
        fill(staged)
        (staged / "ranker.onnx").write_bytes(b"written after the manifest")
        error = refusal(lambda: repository.add("demo", staged))

    assert error.file.name == "ranker.onnx"
    assert "SHA-256" in error.reason
    assert repository.versions("demo") == [1]
    assert repository.resolve("demo").name == "1"


def test_an_artifact_of_another_name_is_not_added(repository: Repository, fill: Fill) -> None:
    with repository.staging("other") as staged:
        error = refusal(lambda: repository.add("other", fill(staged)))

    assert error.reason == "name 'demo' is not the name of its folder"
    assert repository.versions("other") == []


@pytest.mark.parametrize("outcome", [RuntimeError("training failed"), KeyboardInterrupt(), None])
def test_staging_leaves_nothing_behind(
    repository: Repository, fill: Fill, outcome: BaseException | None
) -> None:
    try:
        with repository.staging("demo") as staged:
            (fill(staged) / "folder").mkdir()
            assert staged.is_dir()
            if outcome:
                raise outcome
    except (RuntimeError, KeyboardInterrupt) as error:
        assert error is outcome  # noqa: PT017 - nothing but the exception raised above may leave

    assert os.listdir(repository.root / "demo") == []
    assert repository.names() == []


def test_a_staged_folder_is_no_version_yet(repository: Repository, fill: Fill) -> None:
    with repository.staging("demo") as staged:
        fill(staged)
        assert staged.name.startswith(".")
        assert repository.versions("demo") == []
        assert repository.names() == []

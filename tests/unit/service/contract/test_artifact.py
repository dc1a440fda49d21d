from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from service.contract.artifact import (
    BIAS_REFERENCE,
    Artifact,
    ArtifactError,
    BiasReference,
    Golden,
    open_artifact,
)
from service.contract.files import sha256
from service.contract.repository import Repository

Publish = Callable[[int], Path]
Fill = Callable[..., Path]
Edit = Callable[[Path, str, Any], None]


def refusal(action: Callable[[], object]) -> ArtifactError:
    """Run what must fail; the message must be ``file: reason``, whichever they are."""
    with pytest.raises(ArtifactError) as caught:
        action()
    error = caught.value
    assert str(error) == f"{error.file}: {error.reason}"
    return error


def is_not_called(*args: object) -> NoReturn:
    raise AssertionError(f"called with {args}")


# opening -----------------------------------------------------------------------------------------


def test_a_valid_artifact_opens(publish: Publish) -> None:
    folder = publish(12)

    artifact = open_artifact(folder)

    assert artifact.path == folder
    assert artifact.manifest.name == "demo"
    assert artifact.version == 12
    assert artifact.label == "demo@12"
    assert artifact.graph("ranker") == folder / "ranker.onnx"


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "abc"
    file.write_bytes(b"abc")

    # FIPS 180-2, appendix B.1
    assert sha256(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_missing_manifest_is_refused(publish: Publish) -> None:
    folder = publish(1)
    (folder / "manifest.json").unlink()

    error = refusal(lambda: open_artifact(folder))

    assert (error.file, error.reason) == (folder / "manifest.json", "is missing")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    error = refusal(lambda: open_artifact(tmp_path / "demo" / "1"))

    assert (error.file, error.reason) == (tmp_path / "demo/1/manifest.json", "is missing")


def test_a_manifest_that_cannot_be_read_is_refused(publish: Publish) -> None:
    folder = publish(1)
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()

    error = refusal(lambda: open_artifact(folder))

    assert error.file == folder / "manifest.json"
    assert error.reason == "cannot be read: Is a directory"


def test_a_file_in_place_of_an_artifact_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1").write_text("not a folder")

    error = refusal(lambda: open_artifact(tmp_path / "1"))

    assert error.file == tmp_path / "1/manifest.json"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_manifest_that_is_not_a_json_object_is_refused(publish: Publish, content: bytes) -> None:
    folder = publish(1)
    (folder / "manifest.json").write_bytes(content)

    error = refusal(lambda: open_artifact(folder))

    assert error.file == folder / "manifest.json"
    assert error.reason.startswith("the document: ")


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("default_tradeoff", 1.5, "default_tradeoff: "),
        ("modalities", [{"name": "visual", "dim": 0}], "modalities.0.dim: "),
        ("schema_version", 2, "schema_version: "),
        ("files", {"ranker.onnx": "short"}, "files.ranker.onnx: "),
    ],
)
def test_an_invalid_field_is_refused_by_name(
    publish: Publish, edit: Edit, key: str, value: object, where: str
) -> None:
    folder = publish(1)
    edit(folder, key, value)

    error = refusal(lambda: open_artifact(folder))

    assert error.file == folder / "manifest.json"
    assert error.reason.startswith(where)


@pytest.mark.parametrize(
    "name",
    ["item_encoder.onnx", "user_encoder.onnx", "ranker.onnx", "golden.npz", "front.json"],
)
def test_a_required_file_must_be_listed(publish: Publish, edit: Edit, name: str) -> None:
    folder = publish(1)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    del files[name]
    edit(folder, "files", files)

    error = refusal(lambda: open_artifact(folder))

    assert error.file == folder / "manifest.json"
    assert error.reason == f"files: {name} is not listed"


def test_a_listed_file_must_exist(publish: Publish) -> None:
    folder = publish(1)
    (folder / "ranker.onnx").unlink()

    error = refusal(lambda: open_artifact(folder))

    assert (error.file, error.reason) == (folder / "ranker.onnx", "is missing")


def test_one_changed_byte_is_refused_and_both_hashes_are_named(publish: Publish) -> None:
    folder = publish(1)
    file = folder / "user_encoder.onnx"
    before = file.read_bytes()
    after = before[:-1] + bytes([before[-1] ^ 1])
    file.write_bytes(after)

    error = refusal(lambda: open_artifact(folder))

    assert error.file == file
    assert hashlib.sha256(after).hexdigest() in error.reason
    assert f"not {hashlib.sha256(before).hexdigest()} as in the manifest" in error.reason


def test_a_file_that_is_listed_but_not_required_is_verified_too(
    publish: Publish, edit: Edit
) -> None:
    folder = publish(1)
    (folder / "front.png").write_bytes(b"plot")
    files = json.loads((folder / "manifest.json").read_text())["files"]
    edit(folder, "files", {**files, "front.png": hashlib.sha256(b"plot").hexdigest()})
    assert set(open_artifact(folder).manifest.files) == {*files, "front.png"}

    (folder / "front.png").write_bytes(b"plop")

    assert refusal(lambda: open_artifact(folder)).file == folder / "front.png"


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b", "./ranker.onnx", "."])
def test_a_path_among_the_files_is_refused_unread(
    publish: Publish, edit: Edit, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = publish(1)
    (folder.parent / "secret").write_bytes(b"secret")
    files = json.loads((folder / "manifest.json").read_text())["files"]
    edit(folder, "files", {name: hashlib.sha256(b"secret").hexdigest(), **files})
    monkeypatch.setattr("service.contract.artifact.sha256", is_not_called)

    error = refusal(lambda: open_artifact(folder))

    assert error.file == folder / "manifest.json"
    assert error.reason == f"files: {name!r} is not a plain file name"


@pytest.mark.parametrize("name", ["..", ""])
def test_a_folder_among_the_files_is_refused(publish: Publish, edit: Edit, name: str) -> None:
    folder = publish(1)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    edit(folder, "files", {**files, name: "0" * 64})

    assert refusal(lambda: open_artifact(folder)).file == folder / name


def test_an_artifact_in_another_models_folder_is_refused(publish: Publish) -> None:
    folder = publish(1)
    moved = folder.parent.rename(folder.parent.with_name("other")) / "1"

    error = refusal(lambda: open_artifact(moved))

    assert error.file == moved / "manifest.json"
    assert error.reason == "name 'demo' is not the name of its folder"


# golden ------------------------------------------------------------------------------------------


def test_golden_arrays_come_back_as_saved(publish: Publish, golden: Golden) -> None:
    back = open_artifact(publish(1)).golden()

    assert set(vars(back)) == {
        "embedding",
        "modality_mask",
        "proxies",
        "user",
        "tradeoffs",
        "logits",
        "history",
        "cold_user",
    }
    for name, array in vars(golden).items():
        np.testing.assert_array_equal(vars(back)[name], array, err_msg=name, strict=True)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        pytest.param({"logits": None}, "logits", id="an array is missing"),
        pytest.param({"extra": np.zeros(1)}, "extra", id="an array is unknown"),
        pytest.param({"user": np.array([{}], object)}, "pickle", id="an array is pickled"),
    ],
)
def test_golden_arrays_that_are_not_the_expected_ones_are_refused(
    publish: Publish, golden: Golden, change: dict[str, Any], word: str
) -> None:
    artifact = open_artifact(publish(1))
    arrays = {
        name: array for name, array in {**vars(golden), **change}.items() if array is not None
    }
    np.savez(artifact.path / "golden.npz", **arrays)

    error = refusal(artifact.golden)

    assert error.file == artifact.path / "golden.npz"
    assert error.reason.startswith("cannot be read: ")
    assert word in error.reason


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="cut in half"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: b"no archive", id="other bytes"),
        pytest.param(lambda content: content.replace(b"NUMPY", b"NUMPX"), id="not arrays"),
    ],
)
def test_a_damaged_golden_file_is_refused(
    publish: Publish, damage: Callable[[bytes], bytes]
) -> None:
    artifact = open_artifact(publish(1))
    file = artifact.path / "golden.npz"
    file.write_bytes(damage(file.read_bytes()))

    error = refusal(artifact.golden)

    assert error.file == file
    assert error.reason.startswith("cannot be read: ")


def test_a_missing_golden_file_is_refused(publish: Publish) -> None:
    artifact = open_artifact(publish(1))
    (artifact.path / "golden.npz").unlink()

    assert refusal(artifact.golden).file == artifact.path / "golden.npz"


# bias reference --------------------------------------------------------------------------------


SHOWN = BiasReference(
    item_ids=["i1", "söng", "i3"],
    click_percentile=np.array([10, 50, 90], np.float32),
    tradeoffs=np.array([0, 1], np.float32),
    score_deciles=np.arange(18, dtype=np.float32).reshape(2, 9),
    exposure_gini=np.array([0.5, 0.8], np.float32),
)


def _with_reference(folder: Path, reference: BiasReference) -> Artifact:
    reference.save(folder / BIAS_REFERENCE)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][BIAS_REFERENCE] = sha256(folder / BIAS_REFERENCE)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return open_artifact(folder)


def test_what_a_model_shows_comes_back_as_saved(publish: Publish) -> None:
    back = _with_reference(publish(1), SHOWN).bias_reference()
    assert back is not None
    assert back.item_ids == SHOWN.item_ids
    for name in ("click_percentile", "tradeoffs", "score_deciles", "exposure_gini"):
        np.testing.assert_array_equal(getattr(back, name), getattr(SHOWN, name))


def test_an_artifact_need_not_tell_what_it_shows(publish: Publish) -> None:
    assert open_artifact(publish(1)).bias_reference() is None


def test_a_percentile_for_each_item_is_demanded(publish: Publish) -> None:
    odd = dataclasses.replace(SHOWN, item_ids=["i1", "i2"])
    error = refusal(_with_reference(publish(1), odd).bias_reference)
    assert error.file.name == BIAS_REFERENCE
    assert "click_percentile: shape is (3,), not (2,)" in error.reason


# finding -----------------------------------------------------------------------------------------


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


def test_a_bare_name_follows_the_alias_asked_for_else_the_newest(
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
def test_a_reference_to_nothing_says_what_there_is(
    repository: Repository, publish: Publish, reference: str, file: str, reason: str
) -> None:
    publish(1)
    (repository.root / "zeta" / "1").mkdir(parents=True)
    (repository.root / "README.md").write_text("models")
    (repository.root / "demo" / "aliases.json").write_text('{"champion": 1, "gone": 7}')

    error = refusal(lambda: repository.resolve(reference))

    assert (error.file, error.reason) == (repository.root / file, reason)


def test_an_empty_repository_says_so(repository: Repository) -> None:
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


# promoting ---------------------------------------------------------------------------------------


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

    assert sorted(os.listdir(repository.root / "demo")) == ["1", "aliases.json"]


def test_a_corrupted_artifact_cannot_be_promoted(repository: Repository, publish: Publish) -> None:
    publish(1)
    file = publish(2) / "item_encoder.onnx"
    repository.promote("demo", 1)
    file.write_bytes(file.read_bytes() + b"\0")

    error = refusal(lambda: repository.promote("demo", 2))

    assert error.file == file
    assert "SHA-256" in error.reason
    assert repository.aliases("demo") == {"champion": 1}


def test_a_version_that_is_not_there_cannot_be_promoted(
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
    seen: list[tuple[Path, object, object]] = []
    replace = Path.replace

    def spy(self: Path, target: Path) -> Path:
        seen.append((target, json.loads(target.read_text()), json.loads(self.read_text())))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    repository.promote("demo", 2)

    assert seen == [(aliases, {"champion": 1}, {"champion": 2})]
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


# adding ------------------------------------------------------------------------------------------


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

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NoReturn

import pytest

from service.contract.artifact import open_artifact
from tests.integration.service.contract.conftest import Edit, Publish, refusal
from tests.integration.unreadable_file import REASON, UNREADABLE


def is_not_called(*args: object) -> NoReturn:
    raise AssertionError(f"called with {args}")


def test_a_valid_artifact_opens(publish: Publish) -> None:
    folder = publish(12)

    artifact = open_artifact(folder)

    assert artifact.path == folder
    assert artifact.manifest.name == "demo"
    assert artifact.version == 12
    assert artifact.label == "demo@12"
    assert artifact.graph("ranker") == folder / "ranker.onnx"


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
        ("schema_version", 1, "schema_version: "),
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


def test_a_file_that_cannot_be_read_is_refused(publish: Publish) -> None:
    file = publish(1) / "ranker.onnx"
    file.unlink()
    file.symlink_to(UNREADABLE)

    error = refusal(lambda: open_artifact(file.parent))

    assert (error.file, error.reason) == (file, REASON)


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

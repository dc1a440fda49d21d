"""Golden inputs and the bias reference, read from the files of an artifact."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contract.artifact import (
    BIAS_REFERENCE,
    Artifact,
    BiasReference,
    Golden,
    open_artifact,
)
from service.contract.files import sha256
from tests.integration.service.contract.conftest import Publish, refusal


def test_golden_arrays_are_read_as_saved(publish: Publish, golden: Golden) -> None:
    back = open_artifact(publish(1)).golden()

    assert {name for name, array in vars(back).items() if array is not None} == {
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
        if array is not None:  # only of a model whose known users move
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
        pytest.param(lambda content: _archive(content, b"NUMPY", b"NUMPX"), id="bytes"),
        pytest.param(lambda content: _archive(content, b"descr", b"des\0r"), id="zero in a header"),
        pytest.param(lambda content: _archive(content, b"}", b" "), id="cut header"),
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


REFERENCE = BiasReference(
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


def test_a_bias_reference_is_read_as_saved(publish: Publish) -> None:
    back = _with_reference(publish(1), REFERENCE).bias_reference()
    assert back is not None
    assert back.item_ids == REFERENCE.item_ids
    for name in ("click_percentile", "tradeoffs", "score_deciles", "exposure_gini"):
        np.testing.assert_array_equal(getattr(back, name), getattr(REFERENCE, name))


def test_an_artifact_may_have_no_bias_reference(publish: Publish) -> None:
    assert open_artifact(publish(1)).bias_reference() is None


def test_a_bias_reference_needs_a_percentile_for_each_item(publish: Publish) -> None:
    short = dataclasses.replace(REFERENCE, item_ids=["i1", "i2"])
    error = refusal(_with_reference(publish(1), short).bias_reference)
    assert error.file.name == BIAS_REFERENCE
    assert "click_percentile: shape is (3,), not (2,)" in error.reason


def test_a_bias_reference_with_a_broken_stream_is_refused(publish: Publish) -> None:
    artifact = _with_reference(publish(1), REFERENCE)
    file = artifact.path / BIAS_REFERENCE
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        first = archive.infolist()[0]
    name_at, data_at = 30, 30 + len(first.filename) + int.from_bytes(content[28:30], "little")
    assert content[name_at : name_at + 8] == b"item_ids"
    content[data_at : data_at + 5] = b"\0" * 5  # a stored block of wrong length
    file.write_bytes(content)

    assert refusal(artifact.bias_reference).reason.startswith("cannot be read: ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"item_ids": np.array([0xFF], np.uint8)}, "item_ids: "),
        ({"tradeoffs": np.array(0.5, np.float32)}, "tradeoffs: shape is (), not (1,)"),
    ],
)
def test_arrays_of_a_bias_reference_that_are_not_the_expected_ones_are_refused(
    publish: Publish, change: dict[str, Any], reason: str
) -> None:
    artifact = _with_reference(publish(1), REFERENCE)
    file = artifact.path / BIAS_REFERENCE
    with np.load(file) as arrays:
        np.savez(file, **{**arrays, **change})

    assert refusal(artifact.bias_reference).reason.startswith(reason)


def _archive(content: bytes, old: bytes, new: bytes) -> bytes:
    """Return an archive with the arrays of ``content``, ``old`` replaced in each, valid sums."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(old, new, 1))
    return changed.getvalue()

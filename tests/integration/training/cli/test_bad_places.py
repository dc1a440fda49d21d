"""A place that cannot be read or written: one line that names it, exit code 2, nothing written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import World
from tests.full_disk import file_size_limit
from tests.integration.training.cli.conftest import Refusal

FOLDER = "is a file where a folder belongs"
TRAIN = ("train", "--model", "cp2rec", "--data", "data")
EVALUATE = ("evaluate", "front", "--data", "data")


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places are checked first."""
    for work in ("pipeline.train", "evaluation.study.run"):
        monkeypatch.setattr(f"training.{work}", lambda *_: pytest.fail("trains"))
    monkeypatch.setattr("training.demo.demo.simulate", lambda *_, **__: pytest.fail("simulates"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("train", "--model", "cp2rec", "--data", "file"), "file: is a file; name the folder"),
        (
            (*TRAIN, "--models", "file"),
            f"file: Not a directory; it, or a part of its path, {FOLDER}",
        ),
        ((*TRAIN, "--models", "file/below"), f"file: Not a directory; .*{FOLDER}"),
        ((*TRAIN, "--models", "/proc/models"), "/proc: "),
        ((*TRAIN, "--build", "file"), f"file: Not a directory; .*{FOLDER}"),
        ((*TRAIN, "--scratch", "file"), "file: cannot make a file"),
        ((*TRAIN, "--config", "data"), "data: .*Is a directory"),
        ((*EVALUATE, "--results", "file"), f"file: Not a directory; .*{FOLDER}"),
        ((*EVALUATE, "--results", "/proc/results"), "/proc: "),
        ((*EVALUATE, "--build", "file"), f"file: Not a directory; .*{FOLDER}"),
        (("evaluate", "../../escaped", "--data", "data"), "'../../escaped' is no name of a report"),
        (("evaluate", "a/b", "--data", "data"), "'a/b' is no name of a report"),
        (("evaluate", "..", "--data", "data"), "'..' is no name of a report"),
        (("evaluate", "", "--data", "data"), "'' is no name of a report"),
        (("evaluate", "x" * 240, "--data", "data"), "File name too long; choose a shorter name"),
        (("prepare", "coat", "--source", "file", "--out", "out"), "--source file: is no folder"),
        (("prepare", "coat", "--source", "data", "--out", "file"), "file: exists and is not empty"),
        (("prepare", "coat", "--source", "data", "--out", "file/out"), f"file: Not .*{FOLDER}"),
        (("simulate", "--out", "file/out"), f"file: Not a directory; .*{FOLDER}"),
        (
            ("publish", "cp2rec", "--data", "data", "--models", "file"),
            "file: cannot be read: Not a directory",
        ),
        (("demo", "--build", "file"), f"file: Not a directory; .*{FOLDER}"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else None,
)
def test_a_bad_place_is_named(refusal: Refusal, arguments: tuple[str, ...], named: str) -> None:
    assert re.search(named, refusal(*arguments))


@pytest.mark.parametrize(
    ("folder", "arguments"),
    [
        ("data/dataset.toml", TRAIN),
        ("data/items.parquet", TRAIN),
        ("data/embeddings/image.npy", TRAIN),
        ("data/embeddings/image.ids.txt", TRAIN),
        ("results/small/front.json", EVALUATE),
        ("results/small/front.png", EVALUATE),
        ("results/small/front.html", EVALUATE),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_folder_in_the_place_of_a_file_is_named(
    refusal: Refusal, place: Path, folder: str, arguments: tuple[str, ...]
) -> None:
    (place / folder).unlink(missing_ok=True)
    (place / folder).mkdir(parents=True)

    line = refusal(*arguments)

    assert folder in line
    assert "older" in line.partition(folder)[2]  # the mend


def test_a_folder_in_the_place_of_aliases_is_named_before_anything_is_published(
    refusal: Refusal, place: Path, world: World
) -> None:
    shutil.copytree(world.artifact.path, place / "models" / "toy" / "1")
    (place / "models/toy/aliases.json").mkdir()

    for command in (("publish", "toy@1", "--data", "data"), ("promote", "toy@1")):
        assert "models/toy/aliases.json: cannot be read: Is a directory" in refusal(*command)


def test_a_full_disk_is_named_and_leaves_nothing(refusal: Refusal) -> None:
    with file_size_limit(2_000):
        line = refusal("simulate", "--out", "out", "--impressions", "640")

    assert re.search("File too large; raise the limit of its size or name another place$", line)

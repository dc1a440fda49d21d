"""``embed`` on the command line: what it prints, and what it refuses in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.integration.training.cli.conftest import Refusal
from tests.integration.training.media.encoders import image_encoder, picture, png
from training.cli.app import app


def test_the_output_says_what_was_written_and_how_to_name_it(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "shop/embeddings"
    images.mkdir()
    for name in ("a", "b"):
        (images / f"{name}.png").write_bytes(png(picture(255, 0, 0)))
    (images / "c.jpg").write_bytes(b"no picture")
    (images / "readme.txt").touch()
    model = image_encoder(tmp_path)
    command = ["embed", "--images", str(images), "--out", str(out), "--encoder", str(model)]

    result = CliRunner().invoke(app, [*command, "--name", "cover", "--leave-out"])

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"2 items encoded by {model}, 0 known before, 1 left out",
        "2 vectors of 3 dimensions, of length 1 to 1, 1 on average",
        f"wrote {out / 'cover.npy'} and cover.ids.txt",
        "",
        "[embeddings.cover]  # for dataset.toml",
        'values = "embeddings/cover.npy"',
    ]
    assert np.load(out / "cover.npy").shape == (2, 3)


def test_the_output_names_the_path_within_the_dataset(place: Path) -> None:
    (place / "images").mkdir()
    (place / "images/a.png").write_bytes(png(picture(255, 0, 0)))
    command = ["embed", "--images", "images", "--encoder", str(image_encoder(place))]

    for out, values in (("data", "image.npy"), ("data/x/y", "x/y/image.npy")):
        result = CliRunner().invoke(app, [*command, "--out", out, "--name", "image"])

        assert result.stdout.splitlines()[-1] == f'values = "{values}"'


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "name one of --images FOLDER, --texts FILE and --audio FOLDER"),
        (["--images", "data", "--texts", "file"], "name one of --images FOLDER, --texts FILE"),
        (["--images", "file"], "file: is no folder; name the one that holds the files"),
        (["--images", "data", "--name", "A/b"], "--name 'A/b': write up to 64 lower-case"),
        (["--audio", "data"], "data: has no file *.wav; add them"),
        (["--texts", "file"], "file: is no table of texts; write one of .csv, .tsv, .parquet"),
        (["--texts", "data/items.parquet", "--column", "plot"], "column 'plot': is missing; the"),
        (["--texts", "data/items.parquet"], "name the text by --column; it has item_id, name"),
        (
            ["--texts", "data/items.parquet", "--column", "name", "--encoder", "none.onnx"],
            "none.onnx: is missing; --encoder names an ONNX file with its description none.toml",
        ),
    ],
)
def test_refusals(refusal: Refusal, arguments: list[str], problem: str) -> None:
    assert problem in refusal("embed", "--out", "out", *arguments)


def test_a_failing_encoder_leaves_no_folder(refusal: Refusal, place: Path) -> None:
    model = image_encoder(place, image={"size": 5})
    (place / "images").mkdir()
    (place / "images/a.png").write_bytes(png(picture(1, 2, 3)))

    line = refusal("embed", "--images", "images", "--out", "out", "--encoder", str(model))

    assert "does not take image (1, 3, 5, 5)" in line


def test_a_missing_package_is_named(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "training.media.pictures", raising=False)
    monkeypatch.setitem(sys.modules, "PIL", None)

    line = refusal("embed", "--images", "data", "--out", "out")

    assert line == "the package PIL is missing: pip install 'paretorank[training,media]'"

"""``embed``: what it writes, what an interrupt leaves, and which items it encodes again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.training.data.small_dataset import write
from tests.integration.training.media.encoders import (
    image_encoder,
    picture,
    png,
    text_encoder,
)
from training.data.columns import Floats
from training.data.dataset import open_dataset
from training.data.schema import DESCRIPTION
from training.errors import DatasetError
from training.media.embed import Embedded, embed
from training.media.registry import open_encoder
from training.media.sources import Folder, Texts

COLOURS = {"a": (255, 0, 0), "b": (0, 255, 0), "c": (0, 0, 255), "d": (51, 102, 153)}
VECTORS = np.array(list(COLOURS.values()), np.float32) / np.float32(255)


class Counting:
    """An encoder that counts the items it encodes, and can be interrupted before a batch."""

    def __init__(self, model: Path, interrupt_before: int | None = None) -> None:
        self._encoder = open_encoder(str(model), "image")
        self.label, self.key = self._encoder.label, self._encoder.key
        self.sizes: list[int] = []
        self._interrupt_before = interrupt_before

    def prepare(self, content: bytes) -> Any:
        return self._encoder.prepare(content)

    def encode(self, inputs: Sequence[Any]) -> Floats:
        if len(self.sizes) == self._interrupt_before:
            raise KeyboardInterrupt
        self.sizes.append(len(inputs))
        return self._encoder.encode(inputs)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of four pictures."""
    folder = tmp_path / "images"
    folder.mkdir()
    for item_id, colour in COLOURS.items():
        (folder / f"{item_id}.png").write_bytes(png(picture(*colour)))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return image_encoder(tmp_path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(
    images: Path, encoder: Path | Counting, out: Path, *, batch: int = 2, leave_out: bool = False
) -> Embedded:
    opened = encoder if isinstance(encoder, Counting) else open_encoder(str(encoder), "image")
    return embed(Folder(images, {".png"}), opened, out, "image", batch=batch, leave_out=leave_out)


def read(out: Path) -> tuple[Floats, list[str]]:
    return np.load(out / "image.npy"), (out / "image.ids.txt").read_text().splitlines()


def test_a_dataset_takes_what_embed_writes_as_a_modality(
    images: Path, model: Path, tmp_path: Path
) -> None:
    write(tmp_path / "data")
    (images / "d.png").unlink()
    opened = open_encoder(str(model), "image")

    embedded = embed(
        Folder(images, {".png"}), opened, tmp_path / "data" / "embeddings", "colour", batch=2
    )

    with (tmp_path / "data" / DESCRIPTION).open("a") as file:
        file.write('\n[embeddings.colour]\nvalues = "embeddings/colour.npy"\n')
    dataset = open_dataset(tmp_path / "data")
    assert [modality.name for modality in dataset.modalities][-1] == "colour"
    np.testing.assert_allclose(dataset.embedding[:, -3:], VECTORS[:3], atol=1e-6)
    norms = embedded.norms
    assert (norms.vectors, norms.dim) == (3, 3)
    assert (norms.least, norms.mean, norms.greatest) == pytest.approx((1, 1, 1))


def test_an_interrupt_keeps_the_batches_done(images: Path, model: Path, out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(images, Counting(model, interrupt_before=1), out)
    assert not (out / "image.npy").exists()

    encoder = Counting(model)
    embedded = run(images, encoder, out)

    assert encoder.sizes == [2]
    assert (embedded.encoded, embedded.known) == (2, 2)
    values, ids = read(out)
    np.testing.assert_allclose(values, VECTORS, atol=1e-6)
    assert ids == list(COLOURS)
    assert {path.name for path in out.iterdir()} == {
        ".image.embedded",
        "image.ids.txt",
        "image.npy",
    }


def test_a_half_written_record_is_cut_off(images: Path, model: Path, out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(images, Counting(model, interrupt_before=1), out)
    (journal,) = out.glob(".image.*.journal")
    with journal.open("r+b") as file:
        file.truncate(journal.stat().st_size - 5)  # within the second record

    encoder = Counting(model)
    run(images, encoder, out)

    assert sum(encoder.sizes) == 3
    np.testing.assert_allclose(read(out)[0], VECTORS, atol=1e-6)


def test_changed_and_new_media_alone_are_encoded_again(
    images: Path, model: Path, out: Path
) -> None:
    run(images, model, out)
    (images / "b.png").write_bytes(png(picture(255, 255, 255)))
    (images / "e.png").write_bytes(png(picture(0, 255, 255)))
    (images / "d.png").unlink()

    encoder = Counting(model)
    embedded = run(images, encoder, out)

    assert sum(encoder.sizes) == embedded.encoded == 2
    values, ids = read(out)
    assert ids == ["a", "b", "c", "e"]
    expected = np.array([[1, 0, 0], [1, 1, 1], [0, 0, 1], [0, 1, 1]])
    np.testing.assert_allclose(values, expected, atol=1e-6)


def test_a_run_without_changes_leaves_the_files_alone(images: Path, model: Path, out: Path) -> None:
    run(images, model, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}

    encoder = Counting(model)
    run(images, encoder, out)

    assert encoder.sizes == []
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_a_renamed_item_keeps_its_vector(images: Path, model: Path, out: Path) -> None:
    run(images, model, out)
    (images / "d.png").rename(images / "0.png")

    encoder = Counting(model)
    run(images, encoder, out)

    values, ids = read(out)
    assert encoder.sizes == []
    assert ids == ["0", "a", "b", "c"]
    np.testing.assert_allclose(values, VECTORS[[3, 0, 1, 2]], atol=1e-6)


def test_another_encoder_encodes_all_anew(images: Path, model: Path, out: Path) -> None:
    run(images, model, out)
    picture_options = {"size": 4, "mean": [0.5, 0.5, 0.5], "std": [1.0, 1.0, 1.0]}
    image_encoder(model.parent, image=picture_options)

    encoder = Counting(model)
    run(images, encoder, out)

    assert sum(encoder.sizes) == 4
    np.testing.assert_allclose(read(out)[0], VECTORS - 0.5, atol=1e-6)


def test_an_array_of_somebody_else_is_not_replaced(images: Path, model: Path, out: Path) -> None:
    out.mkdir()
    np.save(out / "image.npy", VECTORS)

    with pytest.raises(DatasetError, match=r"image.npy: was not written by this command; name"):
        run(images, model, out)

    assert [path.name for path in out.iterdir()] == ["image.npy"]


def test_an_array_that_changed_since_is_not_trusted(images: Path, model: Path, out: Path) -> None:
    run(images, model, out)
    np.save(out / "image.npy", VECTORS * 2)

    with pytest.raises(DatasetError, match="was not written by this command"):
        run(images, model, out)


def test_pictures_that_cannot_be_read_are_named(
    images: Path, model: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (images / "b.png").write_bytes(b"no picture")
    (images / "d.png").write_bytes((images / "a.png").read_bytes()[:-30])

    with pytest.raises(DatasetError) as refused:
        run(images, model, out)

    place = images / "b.png"
    assert str(refused.value) == (
        f"{place}: is no picture that can be read; save it anew, as PNG or JPEG; --leave-out "
        "leaves such items without a vector (they are 2)"
    )
    assert f"{images / 'd.png'}: is a broken picture" in caplog.text
    assert not (out / "image.npy").exists()

    encoder = Counting(model)
    embedded = run(images, encoder, out, leave_out=True)
    assert encoder.sizes == []  # those that can be read were kept
    assert embedded.left_out == 2
    assert read(out)[1] == ["a", "c"]


def test_a_vector_of_zeros_is_refused(images: Path, model: Path, out: Path) -> None:
    (images / "c.png").write_bytes(png(picture(0, 0, 0)))

    with pytest.raises(DatasetError, match=r"c\.png: gets a vector that is zero, not finite"):
        run(images, model, out)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.1e6])
def test_a_vector_that_is_not_finite_is_refused(
    images: Path, model: Path, out: Path, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Counting(model)
    monkeypatch.setattr(encoder, "encode", lambda inputs: np.array([[1, value]] * len(inputs)))

    with pytest.raises(DatasetError, match=r"a\.png: gets a vector that is zero, not finite"):
        run(images, encoder, out)


def test_an_empty_text_is_named_with_its_row(tmp_path: Path, out: Path) -> None:
    table = tmp_path / "texts.csv"
    table.write_text("item_id,title,genre\n007,red,green\n8, ,\n")
    source = Texts(table, "item_id", ["title", "genre"])

    with pytest.raises(DatasetError) as refused:
        embed(source, open_encoder(str(text_encoder(tmp_path)), "text"), out, "text")

    assert str(refused.value).startswith(
        f"{table}, column 'title, genre', row 1: is empty; fill it or remove it"
    )


def test_texts_keep_their_order_and_ids(tmp_path: Path, out: Path) -> None:
    table = tmp_path / "texts.csv"
    table.write_text("item_id,text\n007,red\n8,red green blue\n9,green\n")
    opened = open_encoder(str(text_encoder(tmp_path)), "text")

    embed(Texts(table, "item_id"), opened, out, "text", batch=2)

    assert (out / "text.ids.txt").read_text() == "007\n8\n9\n"
    expected = np.array([[1, 0], [2 / 3, 1], [0, 1]])
    np.testing.assert_allclose(np.load(out / "text.npy"), expected, atol=1e-6)

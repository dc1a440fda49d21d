"""Tiny ONNX encoders of each kind with their descriptions, and media to encode."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tomli_w
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

WORDS = ["[PAD]", "[UNK]", "red", "green", "blue", "void"]
TABLE = np.array([[9, 9], [1, 1], [1, 0], [0, 1], [1, 2], [0, 0]], np.float32)  # (V, D)


def save_graph(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, tuple[int | str, ...]]],
    output: tuple[int | str, ...],
    constants: dict[str, NDArray[Any]] | None = None,
) -> Path:
    """Write a graph whose last node gives ``vector``; ``inputs`` are types and shapes by name."""
    graph = helper.make_graph(
        list(nodes),
        "encoder",
        [helper.make_tensor_value_info(name, *value) for name, value in inputs.items()],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, output)],
        [onnx.numpy_helper.from_array(x, name) for name, x in (constants or {}).items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def describe(model: Path, **entries: Any) -> Path:
    """Write the description beside a model; return it."""
    path = model.with_suffix(".toml")
    path.write_text(tomli_w.dumps(entries))
    return path


def image_encoder(folder: Path, batch: int | str = "B", **entries: Any) -> Path:
    """A picture's vector: the mean of each channel of the input."""
    model = save_graph(
        folder / "image.onnx",
        [helper.make_node("ReduceMean", ["image"], ["vector"], axes=[2, 3], keepdims=0)],
        {"image": (TensorProto.FLOAT, (batch, 3, 4, 4))},
        (batch, 3),
    )
    picture = {"size": 4, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
    describe(model, **{"normalize": False, "image": picture, **entries})
    return model


def text_encoder(folder: Path, **entries: Any) -> Path:
    """A text's states: those of its words in ``TABLE``."""
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    model = save_graph(
        folder / "text.onnx",
        [
            helper.make_node("Gather", ["table", "input_ids"], ["states"]),
            helper.make_node("Identity", ["states"], ["vector"]),
            helper.make_node("Identity", ["attention_mask"], ["unused"]),
        ],
        dict.fromkeys(("input_ids", "attention_mask"), (TensorProto.INT64, ("B", "L"))),
        ("B", "L", 2),
        {"table": TABLE},
    )
    describe(model, **{"normalize": False, "pooling": "mean", "text": {"max_length": 3}, **entries})
    return model


def sound_encoder(folder: Path, **entries: Any) -> Path:
    """A window's vector: the mean and the greatest of its samples."""
    model = save_graph(
        folder / "sound.onnx",
        [
            helper.make_node("ReduceMean", ["samples"], ["mean"], axes=[1]),
            helper.make_node("ReduceMax", ["samples"], ["most"], axes=[1]),
            helper.make_node("Concat", ["mean", "most"], ["vector"], axis=1),
        ],
        {"samples": (TensorProto.FLOAT, ("B", "S"))},
        ("B", 2),
    )
    sound = {"sample_rate": 8, "window_s": 0.5}
    describe(model, **{"normalize": False, "audio": sound, **entries})
    return model


def picture(*colour: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> Image.Image:
    """Return a picture of one colour."""
    return Image.new(mode, size, colour)


def png(image: Image.Image) -> bytes:
    """Return a picture as the bytes of a PNG."""
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def wav(samples: NDArray[np.integer], *, rate: int = 8, width: int = 2) -> bytes:
    """Return samples (n, channels) as the bytes of a WAV file."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        raw = samples.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :width]
        file.writeframes(raw.tobytes())
    return content.getvalue()

"""Export of the packaged encoders from PyTorch to ONNX, with proof of parity."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load
from torch import Tensor, nn

from training.errors import ExportError
from training.media.bert import Bert
from training.media.packaged import MODEL, TOKENIZER

OPSET = 17
TOLERANCE = 1e-4  # between the outputs of torch and of the graph
_TOKEN_INPUTS = ("input_ids", "attention_mask")


class PooledEfficientNet(nn.Module):
    """The features of an EfficientNet before its classifier, averaged over the picture."""

    def __init__(self, net: EfficientNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """Return features (B, 1280) of pictures (B, 3, H, W)."""
        features: Tensor = self.net.extract_features(image)
        return features.mean((2, 3))


def load_minilm(weights: Path) -> tuple[Bert, bytes]:
    """Return the net and the tokenizer of a ``model.zip``."""
    with zipfile.ZipFile(weights) as archive:
        net = Bert(json.loads(archive.read("config.json")))
        state = load(archive.read("model.safetensors"))
        tokenizer = archive.read("tokenizer.json")
    unused = {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}
    net.load_state_dict({name: x for name, x in state.items() if name not in unused})
    return net.eval(), tokenizer


def load_efficientnet_lite0(weights: Path) -> PooledEfficientNet:
    """Return the net of a checkpoint; nothing in it is executed."""
    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return PooledEfficientNet(net).eval()


def _export_minilm(weights: Path, folder: Path) -> None:
    net, tokenizer = load_minilm(weights)
    ids = torch.tensor([[101, 7592, 2088, 102], [101, 4937, 102, 0]])
    _export(net, dict(zip(_TOKEN_INPUTS, (ids, (ids > 0).long()), strict=True)), folder / MODEL)
    (folder / TOKENIZER).write_bytes(tokenizer)


def _export_efficientnet_lite0(weights: Path, folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 224, 224, generator=generator) * 2 - 1
    _export(load_efficientnet_lite0(weights), {"image": image}, folder / MODEL)


EXPORTERS: dict[str, Callable[[Path, Path], None]] = {
    "minilm": _export_minilm,
    "efficientnet-lite0": _export_efficientnet_lite0,
}


def _export(net: nn.Module, example: dict[str, Tensor], path: Path) -> None:
    """Write ``net`` to ``path``; raises ExportError where the graph gives other outputs."""
    names = {0: "B", 1: "L"} if set(example) == set(_TOKEN_INPUTS) else {0: "B"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The older of torch's exporters: here ten times as fast, with equal outputs.
        torch.onnx.export(
            net,
            tuple(example.values()),
            str(path),
            input_names=list(example),
            output_names=["output"],
            dynamic_axes={**dict.fromkeys(example, names), "output": names},
            opset_version=OPSET,
            dynamo=False,
        )
    with torch.inference_mode():
        expected = net(*example.values()).numpy()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    # Another batch size and length than the example's: neither may be fixed in the graph.
    for rows in (slice(None), slice(1)):
        feed = {name: tensor[rows].numpy() for name, tensor in example.items()}
        (output,) = session.run(None, feed)
        difference = float(np.abs(output - expected[rows]).max())
        if not difference <= TOLERANCE:
            raise ExportError(f"{path.name}: differs from its torch net by {difference:g}")

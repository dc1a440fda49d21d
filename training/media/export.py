"""Export of the packaged encoders from PyTorch to ONNX, with proof of parity."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from training.errors import ExportError
from training.media.packaged import MODEL, TOKENIZER

OPSET = 17
TOLERANCE = 1e-4  # between the outputs of torch and of the graph
_TOKEN_INPUTS = ("input_ids", "attention_mask")


class Bert(nn.Module):
    """BERT (Devlin et al., 2019) without its pooler; modules are named as in the weights."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Make a net of the shape that ``config`` states, the owners' ``config.json``."""
        super().__init__()
        layers = [BertLayer(config) for _ in range(config["num_hidden_layers"])]
        self.embeddings = BertEmbeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the states (B, L, D) of tokens (B, L)."""
        states: Tensor = self.embeddings(input_ids)
        mask = attention_mask[:, None, None, :] > 0  # (B, 1, 1, L)
        for layer in self.encoder["layer"].children():
            states = layer(states, mask)
        return states


class BertEmbeddings(nn.Module):
    """The sum of what a token, its place and its type say; all tokens are of the first type."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], width)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, config["layer_norm_eps"])

    def forward(self, ids: Tensor) -> Tensor:
        """Return the first states (B, L, D)."""
        places = self.position_embeddings(torch.arange(ids.shape[1], device=ids.device))
        types = self.token_type_embeddings(torch.zeros_like(ids))
        states: Tensor = self.LayerNorm(self.word_embeddings(ids) + places + types)
        return states


class BertLayer(nn.Module):
    """Attention, then two linear layers; each block's input is added to its output."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.attention = nn.ModuleDict(
            {"self": BertAttention(config), "output": BertOutput(width, config)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = BertOutput(inner, config)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the next states (B, L, D)."""
        states = self.attention["output"](self.attention["self"](states, mask), states)
        inner = functional.gelu(self.intermediate["dense"](states))
        result: Tensor = self.output(inner, states)
        return result


class BertAttention(nn.Module):
    """Attention of H heads."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, self.heads = config["hidden_size"], config["num_attention_heads"]
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return what the tokens attend to (B, L, D)."""
        query, key, value = (
            linear(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, L, D / H)
            for linear in (self.query, self.key, self.value)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, mask)
        return attended.transpose(1, 2).flatten(2)


class BertOutput(nn.Module):
    """The end of a block: linear, plus the block's input, normalised."""

    def __init__(self, inner: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, config["hidden_size"])
        self.LayerNorm = nn.LayerNorm(config["hidden_size"], config["layer_norm_eps"])

    def forward(self, values: Tensor, states: Tensor) -> Tensor:
        """Return the block's output (B, L, D)."""
        result: Tensor = self.LayerNorm(self.dense(values) + states)
        return result


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

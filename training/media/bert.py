"""BERT (Devlin et al., 2019) without its pooler; modules are named as in the owners' weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Bert(nn.Module):
    """From the ids of tokens to their states."""

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

"""Encoders that turn pictures, texts and sounds into item embeddings."""

from typing import Literal

Kind = Literal["image", "text", "audio"]
DEFAULTS: dict[Kind, str] = {"image": "efficientnet-lite0", "text": "minilm"}  # packaged encoders

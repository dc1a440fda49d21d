"""Encoders by name: packaged ones, those of other libraries, and any ONNX file."""

from __future__ import annotations

from pathlib import Path

from training.errors import ConfigError
from training.media import DEFAULTS, Kind
from training.media.encoder import Encoder
from training.media.libraries import OpenClip, SentenceTransformer
from training.media.onnx_encoder import OnnxEncoder
from training.media.packaged import PACKAGED, open_packaged


def open_encoder(name: str | None, kind: Kind) -> Encoder:
    """Open the encoder that ``name`` stands for; None is the packaged one of ``kind``.

    ``name`` is one of ``PACKAGED``, ``sentence-transformers:FOLDER``,
    ``open_clip:ARCHITECTURE:FILE``, or the path of an ONNX file or its description. Raises
    ConfigError for a kind that it does not take.
    """
    if name is None:
        if kind not in DEFAULTS:
            raise ConfigError(f"--{kind}: no encoder is packaged for it; name yours by --encoder")
        name = DEFAULTS[kind]
    if name in PACKAGED:
        return open_packaged(name, kind)
    scheme, _, rest = name.partition(":")
    if scheme == "sentence-transformers":
        if kind != "text":
            raise ConfigError(f"--encoder {name}: takes texts alone; name another for --{kind}")
        return SentenceTransformer(Path(rest))
    if scheme == "open_clip":
        architecture, _, weights = rest.partition(":")
        if kind == "audio" or not weights:
            raise ConfigError(
                f"--encoder {name}: write open_clip:ARCHITECTURE:FILE, for pictures or texts"
            )
        return OpenClip(architecture, Path(weights), kind)
    return OnnxEncoder(Path(name), kind)

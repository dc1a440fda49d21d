"""The file beside an ONNX encoder: what its graph takes, and what becomes of its output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import ConfigError
from training.media import Kind
from training.toml import parse

SUFFIXES = (".toml", ".json")

Mean = Annotated[float, Field(ge=-1e3, le=1e3)]
Deviation = Annotated[float, Field(ge=1e-3, le=1e3)]
FileName = Annotated[str, Field(pattern=r"^[^/\x00-\x1f\x7f]{1,255}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Picture(_Frozen):
    """A picture as input: RGB values, divided by 255, minus ``mean``, over ``std``."""

    size: int = Field(default=224, ge=1, le=4096, description="Side of the input in pixels.")
    resize: int | None = Field(
        default=None,
        ge=1,
        le=8192,
        description="Length of the shorter side before the centre of `size` is cut out; "
        "`size` by default.",
    )
    crop: bool = Field(
        default=True, description="`false`: stretch the whole picture instead of cutting."
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = Field(
        default="bicubic", description="How pixels are resampled."
    )
    mean: tuple[Mean, Mean, Mean] = Field(
        default=(0.485, 0.456, 0.406), description="Of red, green and blue."
    )
    std: tuple[Deviation, Deviation, Deviation] = Field(
        default=(0.229, 0.224, 0.225), description="Of red, green and blue."
    )
    layout: Literal["NCHW", "NHWC"] = Field(
        default="NCHW", description="Order of the input's dimensions."
    )

    @model_validator(mode="after")
    def _fits(self) -> Picture:
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"resize {self.resize} is below size {self.size}; raise it")
        return self


class Text(_Frozen):
    """A text as input: the ids of its tokens."""

    tokenizer: FileName = Field(
        default="tokenizer.json", description="File of the `tokenizers` library, beside this one."
    )
    max_length: int = Field(
        default=256, ge=2, le=100_000, description="Tokens of a text; more are cut off."
    )


class Sound(_Frozen):
    """A sound as input: one channel of samples in [-1, 1], in windows of equal length.

    The vectors of a sound's windows are averaged.
    """

    sample_rate: int = Field(
        default=16_000, ge=1, le=400_000, description="Samples a second; others are resampled."
    )
    window_s: float = Field(
        default=10.0, gt=0, le=600, description="Seconds of a window; the last is filled with 0."
    )


class EncoderFile(_Frozen):
    """A parsed description; it has one of the tables ``image``, ``text`` and ``audio``."""

    model: FileName | None = Field(
        default=None, description="ONNX file beside this one; `x.onnx` for `x.toml` by default."
    )
    output: str | None = Field(default=None, description="Output to take; the first by default.")
    pooling: Literal["none", "mean", "cls"] = Field(
        default="none",
        description="From (B, L, D) to (B, D): the mean over L, padding left out, or the first.",
    )
    normalize: bool = Field(default=True, description="Scale each vector to length 1.")
    image: Picture | None = None
    text: Text | None = None
    audio: Sound | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> EncoderFile:
        if sum(part is not None for part in (self.image, self.text, self.audio)) != 1:
            raise ValueError("needs one of the tables [image], [text] and [audio]")
        return self

    @property
    def kind(self) -> Kind:
        """The kind of media that the encoder takes."""
        if self.image is not None:
            return "image"
        return "text" if self.text is not None else "audio"

    def to_toml(self) -> str:
        """Return the description as the text of a file."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def read_encoder_file(path: Path) -> tuple[EncoderFile, Path]:
    """Return the description of an encoder and its ONNX file.

    ``path`` is the description, or the ONNX file that has one beside it, of the same name. Raises
    ConfigError naming the bad entry and the mend.
    """
    beside = path
    if path.suffix not in SUFFIXES:
        candidates = [path.with_suffix(suffix) for suffix in SUFFIXES]
        existing = [candidate for candidate in candidates if candidate.is_file()]
        if not path.is_file() or not existing:
            missing = candidates[0] if path.is_file() else path
            raise ConfigError(
                f"{missing}: is missing; --encoder names an ONNX file with its description "
                f"{candidates[0].name} beside it"
            )
        beside = existing[0]
    try:
        text = beside.read_text(encoding="utf-8-sig")
        table = json.loads(text) if beside.suffix == ".json" else parse(text)
        description = EncoderFile.model_validate(table)
    except FileNotFoundError as error:
        raise ConfigError(f"{beside}: is missing; write it or name another --encoder") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{beside}: {place + ': ' if place else ''}{first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{beside}: is not {beside.suffix[1:].upper()}: {error}") from error
    if path != beside:
        return description, path
    model = beside.with_suffix(".onnx").name if description.model is None else description.model
    return description, beside.with_name(model)

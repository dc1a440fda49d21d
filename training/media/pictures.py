"""From the bytes of a picture to the input of a net."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from training.data.columns import Floats
from training.media.description import Picture
from training.media.encoder import MediumError

Image.init()
# No programs, such as EPS, and only what this build of Pillow opens.
_WANTED = {"PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"}
FORMATS = sorted(_WANTED & Image.OPEN.keys())
SUFFIXES = frozenset(
    suffix for suffix, format_ in Image.registered_extensions().items() if format_ in FORMATS
)
_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True)
class PictureInput:
    """Decodes pictures for one encoder."""

    options: Picture

    def __call__(self, content: bytes) -> Floats:
        """Return a picture as (3, H, W), or as (H, W, 3) in the layout NHWC; raises MediumError."""
        image = decode(content)
        options, (width, height) = self.options, image.size
        box = (0.0, 0.0, float(width), float(height))
        if options.crop:
            side = min(width, height) * options.size / (options.resize or options.size)
            left, top = (width - side) / 2, (height - side) / 2
            box = (left, top, left + side, top + side)
        filter_ = Image.Resampling[options.interpolation.upper()]
        pixels = image.resize((options.size, options.size), filter_, box=box)
        mean, deviation = (np.array(x, np.float32) for x in (options.mean, options.std))
        values: Floats = np.asarray(pixels, np.float32) / np.float32(255)  # (H, W, 3)
        values = (values - mean) / deviation
        return values if options.layout == "NHWC" else values.transpose(2, 0, 1)


def decode(content: bytes) -> Image.Image:
    """Return a picture in RGB, upright, on white where it is transparent; raises MediumError."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as file:
            image = ImageOps.exif_transpose(file)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
            return image.convert("RGB")
    except UnidentifiedImageError as error:
        raise MediumError("is no picture that can be read; save it anew, as PNG or JPEG") from error
    except (
        *(OSError, ValueError, SyntaxError, EOFError, struct.error),  # of broken files
        Image.DecompressionBombError,
    ) as error:
        raise MediumError(f"is a broken picture ({error}); save it anew") from error

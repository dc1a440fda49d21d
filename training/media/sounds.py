"""From the bytes of a WAV file to the input of a net."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from math import gcd

import numpy as np
from scipy.signal import resample_poly

from training.data.columns import Floats
from training.media.description import Sound
from training.media.encoder import MediumError

SUFFIXES = frozenset((".wav",))
_MEND = "convert it to WAV with PCM samples: ffmpeg -i SOUND -c:a pcm_s16le SOUND.wav"


@dataclass(frozen=True)
class SoundInput:
    """Decodes sounds for one encoder."""

    options: Sound

    def __call__(self, content: bytes) -> Floats:
        """Return a sound's windows (n, samples); raises MediumError."""
        samples, rate = decode(content)
        if rate != self.options.sample_rate:
            divisor = gcd(rate, self.options.sample_rate)
            up, down = self.options.sample_rate // divisor, rate // divisor
            samples = resample_poly(samples, up, down).astype(np.float32)
        window = max(1, round(self.options.window_s * self.options.sample_rate))
        filled = np.pad(samples, (0, -len(samples) % window))
        return filled.reshape(-1, window)


def decode(content: bytes) -> tuple[Floats, int]:
    """Return the mean of a sound's channels (samples,) in [-1, 1], and its sample rate in Hz.

    Raises MediumError.
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise MediumError(f"is no sound that can be read ({error}); {_MEND}") from error
    frames = frames[: len(frames) // (width * channels) * width * channels]
    if not frames or not rate:
        raise MediumError("is a sound of no length; remove it")
    # The upper bytes of 32-bit integers; samples of one byte have no sign.
    raw = np.zeros((len(frames) // width, 4), np.uint8)
    raw[:, 4 - width :] = np.frombuffer(frames, np.uint8).reshape(-1, width)
    if width == 1:
        raw[:, 3] ^= 0x80
    samples = raw.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    return samples.reshape(-1, channels).mean(axis=1), rate

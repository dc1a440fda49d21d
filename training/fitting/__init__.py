"""Training: from a dataset and a configuration to a fitted net."""

from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda", "mps"]

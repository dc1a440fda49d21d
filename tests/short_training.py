"""The packaged configuration in a fraction of its steps, for tests of what surrounds a training."""

from __future__ import annotations

import pytest

from training.configs import PACKAGED


def shorten_trainings(patch: pytest.MonkeyPatch) -> None:
    """Let ``cp2rec`` train for few steps in this process, and bootstrap few samples."""
    table = PACKAGED["cp2rec"]
    shorter = {"train": {"epochs": 2, "epoch_steps": 20}, "front": {"bootstrap": 20}}
    for section, options in shorter.items():
        patch.setitem(table, section, {**table[section], **options})

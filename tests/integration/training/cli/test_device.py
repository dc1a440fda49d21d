"""A device that is not there: one line that names those that are, exit code 2, nothing written."""

from __future__ import annotations

import pytest

from tests.integration.training.cli.conftest import Refusal
from training.fitting import device


@pytest.mark.parametrize("command", [("train", "--model", "cp2rec"), ("evaluate", "front")])
def test_a_device_that_is_not_there(
    refusal: Refusal, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setitem(device._AVAILABLE, "cuda", lambda: False)

    line = refusal(*command, "--data", "data", "--device", "cuda")

    assert line.startswith("--device cuda: PyTorch ")
    assert "name one of auto, " in line

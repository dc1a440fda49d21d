"""onnxruntime's telemetry is off, in the service and in training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

OFF = "ORT_DISABLE_TELEMETRY"


@pytest.mark.parametrize("module", ["service.models.scorer", "training.release.export"])
def test_onnxruntime_leaves_nothing_in_the_home_folder(tmp_path: Path, module: str) -> None:
    places = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {**os.environ, **places}
    environment.pop(OFF, None)
    program = f"import {module}, os, sys; print(os.environ['{OFF}'], 'onnxruntime' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["1", "True"], done.stderr
    assert not list(tmp_path.rglob("*onnxruntime*"))
    assert not list(tmp_path.rglob("deviceid"))

"""Exit codes: 130 on Ctrl-C; a fault of the program keeps its traceback."""

from __future__ import annotations

import errno
import sys

import pytest

from training.cli.app import main

COMMAND = ["training", "train", "--model", "cp2rec", "--data", "data"]


pytestmark = pytest.mark.usefixtures("place")


def _raise(error: BaseException) -> None:
    raise error


def test_ctrl_c_exits_with_130_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", COMMAND)
    monkeypatch.setattr("training.pipeline.train", lambda *_: _raise(KeyboardInterrupt()))

    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "fault", [ZeroDivisionError(), ConnectionResetError(errno.ECONNRESET, "reset"), OSError("?")]
)
def test_a_fault_of_the_program_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(sys, "argv", COMMAND)
    monkeypatch.setattr("training.pipeline.train", lambda *_: _raise(fault))

    with pytest.raises(type(fault)) as raised:
        main()

    assert raised.value is fault

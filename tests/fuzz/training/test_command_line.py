"""Any arguments are parsed, or refused with exit code 2 and no traceback."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import typer
import typer.core
import typer.main
from hypothesis import example, given
from hypothesis import strategies as st

from training.cli.app import app, leaves, main
from training.errors import TrainingError


def _parser() -> typer.core.TyperGroup:
    """Return the command line with commands that do nothing."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for _, command in leaves(group):
        command.callback = lambda **_: None
    return group


COMMANDS = dict(leaves(_parser()))
OPTIONS = sorted(
    {name for command in COMMANDS.values() for option in command.params for name in option.opts}
)
# Commands that end before they write or connect, because there is no data.
HARMLESS = ("prepare", "check", "train", "evaluate", "look", "publish", "promote")

words = st.one_of(
    st.sampled_from(OPTIONS),
    st.sampled_from(["--", "-", "--help", "-h", "--no-promote", "=", "--seed=", "--set=a=b"]),
    st.sampled_from(["cp2rec", "coat", "toy@1", ".", "..", "/", "", "1", "-1", "nan", "1e999"]),
    st.sampled_from(["9" * 5000, "x" * 5000, "train.epochs=1", "net={}", "redis://:p@h"]),
    st.binary(max_size=8).map(lambda raw: os.fsdecode(raw.replace(b"\0", b""))),
)


@given(st.sampled_from(sorted(COMMANDS)), st.lists(words, max_size=8))
def test_any_arguments_are_parsed_or_a_usage_error(command: str, arguments: list[str]) -> None:
    try:
        _parser().main([*command.split(), *arguments], prog_name="training")
    except SystemExit as stopped:
        assert stopped.code in (0, 2)
    except TrainingError as error:  # main() prints it and exits with 2
        assert str(error)


@given(command=st.sampled_from([*HARMLESS, "", "publishes"]), arguments=st.lists(words, max_size=8))
@example(
    command="train", arguments=["--model", "cp2rec", "--data", "x", "--set", "seed=" + "[" * 5000]
)
def test_any_command_ends_with_one_line(
    command: str,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["training", command, *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    printed = capfd.readouterr()
    assert stopped.value.code == 2 or (stopped.value.code == 0 and "Usage:" in printed.out)
    assert "Traceback" not in printed.err
    assert not list(tmp_path.iterdir())

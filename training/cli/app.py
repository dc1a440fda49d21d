"""The command line: ``python -m training COMMAND``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import typer

from training.cli.candidate import candidate
from training.cli.check import check
from training.cli.collect import collect
from training.cli.compare import compare
from training.cli.demo import demo
from training.cli.embed import embed
from training.cli.evaluate import evaluate
from training.cli.experiment import experiment
from training.cli.look import look
from training.cli.loop import loop
from training.cli.prepare import prepare
from training.cli.prepare_log import prepare_log
from training.cli.promote import promote
from training.cli.prune import prune
from training.cli.publish import publish
from training.cli.rollback import rollback
from training.cli.simulate import simulate
from training.cli.train import train
from training.cli.what_if import what_if
from training.errors import TrainingError, place_problem

COMMANDS = (
    prepare,
    prepare_log,
    simulate,
    embed,
    check,
    train,
    evaluate,
    compare,
    look,
    publish,
    candidate,
    promote,
    rollback,
    prune,
    collect,
    what_if,
    demo,
    loop,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Prepare data, train, evaluate, publish.",
)


def add_commands(program: typer.Typer) -> None:
    """Add the commands of the training to a command line."""
    for command in COMMANDS:
        program.command()(command)
    program.add_typer(experiment, name="experiment")


def leaves(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each command of a group with its name, which has those of the groups around it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{above}{name} ")
        else:
            yield above + name, command


add_commands(app)


def main() -> None:
    """Run a command of ``python -m training``; see ``run``."""
    run(app)


def run(program: typer.Typer, name: str | None = None) -> None:
    """Run a command of ``program``, called ``name``, and exit: 0 when done, 130 on Ctrl-C.

    An error that a user can mend exits with 2 and one line. Any other exception is a fault of the
    program: a traceback and 1.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        program(prog_name=name)
    except Exception as error:
        problem = _problem(error)
        if problem is None:
            raise
        _refuse(problem)


def _problem(error: Exception) -> str | None:
    """Return what a user can mend, None for a fault of the program."""
    from service.contract.artifact import ArtifactError

    if isinstance(error, TrainingError | ArtifactError):
        return str(error)
    return place_problem(error) if isinstance(error, OSError) else None


def _refuse(problem: str) -> NoReturn:
    typer.echo(f"error: {problem}", err=True)
    sys.exit(2)

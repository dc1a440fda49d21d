"""The command line: ``python -m training COMMAND``."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

import torch
import typer

from service.contract.artifact import ArtifactError
from training.cli.candidate import candidate
from training.cli.check import check
from training.cli.collect import collect
from training.cli.compare import compare
from training.cli.demo import demo
from training.cli.evaluate import evaluate
from training.cli.look import look
from training.cli.prepare import prepare
from training.cli.prepare_log import prepare_log
from training.cli.promote import promote
from training.cli.prune import prune
from training.cli.publish import publish
from training.cli.rollback import rollback
from training.cli.simulate import simulate
from training.cli.train import train
from training.errors import TrainingError, place_problem

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Prepare data, train, evaluate, publish.",
)
for command in (
    prepare,
    prepare_log,
    simulate,
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
    demo,
):
    app.command()(command)


def main() -> None:
    """Run a command; exit with 0 when done, 2 for an error that a user can mend, 130 on Ctrl-C.

    Any other exception is a fault of the program: a traceback and 1.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # the nets are small: more threads mostly wait for each other
    try:
        app()
    except (TrainingError, ArtifactError) as error:
        _refuse(str(error))
    except OSError as error:
        problem = place_problem(error)
        if problem is None:
            raise
        _refuse(problem)


def _refuse(problem: str) -> NoReturn:
    typer.echo(f"error: {problem}", err=True)
    sys.exit(2)

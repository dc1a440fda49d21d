"""``paretorank``: the service and the training commands under one name.

With the service's packages alone, ``paretorank serve`` and ``paretorank keys`` work.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

if TYPE_CHECKING:
    import typer

SERVICE = {
    "serve": "Serve rankings over HTTP.",
    "keys": "Make, list or remove API keys.",
}
_OTHERS = "need the packages of training: pip install 'paretorank[training]'"


def main() -> None:
    """Run a command and exit, with the codes of ``python -m service`` or ``python -m training``."""
    name, *arguments = sys.argv[1:] or [""]
    if name == "--version":
        _print_version()
    elif name in SERVICE:
        sys.exit(_run_service(name, arguments))
    elif find_spec("typer") and find_spec("torch"):
        from training.cli.app import run

        run(_program(), "paretorank")
    elif name in ("", "--help"):
        commands = "".join(f"  {name:<8}{text}\n" for name, text in SERVICE.items())
        print(f"Usage: paretorank COMMAND\n\n{commands}\ntrain and others {_OTHERS}")  # noqa: T201  # for people
    else:
        sys.exit(_refuse(f"paretorank {name}: all commands but {' and '.join(SERVICE)} {_OTHERS}"))


def _refuse(problem: str) -> int:
    print(f"error: {problem}", file=sys.stderr)  # noqa: T201  # for people
    return 2


def _print_version() -> None:
    print(f"paretorank {version('paretorank')}")  # noqa: T201  # for people


def _run_service(name: str, arguments: Sequence[str]) -> int:
    from service.__main__ import main

    if name == "serve":
        return main(arguments, "paretorank serve")
    return main([name, *arguments], "paretorank")


def _program() -> "typer.Typer":
    """Return the command line with all commands: help and completion list the service's, too."""
    import typer

    from training.cli.app import add_commands

    program = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Prepare data, train, evaluate, publish, serve.",
    )

    def print_version(wanted: bool) -> None:
        if wanted:
            _print_version()
            raise typer.Exit

    @program.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", is_eager=True, callback=print_version, help="Print it.")
        ] = False,
    ) -> None:
        pass

    def run_service(context: typer.Context) -> None:
        raise typer.Exit(_run_service(context.info_name or "", context.args))

    add_commands(program)
    for name, text in SERVICE.items():
        program.command(
            name,
            help=text,
            add_help_option=False,  # the service prints its own
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(run_service)
    return program


if __name__ == "__main__":
    main()

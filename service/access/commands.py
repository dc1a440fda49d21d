"""``python -m service keys``: makes, lists and removes API keys."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from pathlib import Path
from typing import get_args

from service.access.keys import Scope, add, read, remove
from service.errors import KeysError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of ``keys``."""
    commands = parser.add_subparsers(dest="keys_command", required=True, metavar="COMMAND")
    adding = commands.add_parser("add", help="make a key, and print it once")
    adding.add_argument("name", metavar="NAME", help="a to z, 0 to 9 and -, such as feed-2026")
    adding.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=get_args(Scope),
        help="what the key allows; repeat it for more",
    )
    adding.add_argument(
        "--expires", type=_time, metavar="TIME", help="date or date-time in UTC, such as 2027-01-31"
    )
    adding.add_argument(
        "--rate", metavar="RATE", help="N/second, /minute, /hour or /day, such as 100/second"
    )
    listing = commands.add_parser("list", help="list the keys by name, without the keys themselves")
    removing = commands.add_parser("remove", help="remove a key: services refuse it from then on")
    removing.add_argument("name", metavar="NAME")
    for command in (adding, listing, removing):
        command.add_argument(
            "--file", type=Path, metavar="FILE", help="the keys file; default: RANK_KEYS_FILE"
        )


def run(arguments: argparse.Namespace, keys_file: Path | None) -> int:
    """Run a command on the file that the arguments name, else on ``keys_file``.

    Returns the exit code: 2 after a mistake, which standard error explains.
    """
    path: Path | None = arguments.file or keys_file
    try:
        if path is None:
            raise KeysError("name the keys file: --file or RANK_KEYS_FILE")
        _run(arguments, path)
    except KeysError as error:
        print(error, file=sys.stderr)  # noqa: T201  # for people
        return 2
    return 0


def _run(arguments: argparse.Namespace, path: Path) -> None:
    match arguments.keys_command:
        case "add":
            scopes: frozenset[Scope] = frozenset(arguments.scope)
            secret = add(path, arguments.name, scopes, arguments.expires, arguments.rate)
            print(secret)  # noqa: T201  # for people
            message = f"added {arguments.name} to {path}; the key is shown this once"
            print(message, file=sys.stderr)  # noqa: T201  # for people
        case "remove":
            remove(path, arguments.name)
        case "list":
            for key in read(path).keys:
                scopes_text = ",".join(sorted(key.scopes))
                expires = "never expires" if key.expires is None else f"expires {key.expires}"
                print(f"{key.name:<24} {scopes_text:<20} {key.rate or 'no rate':<14} {expires}")  # noqa: T201  # for people


def _time(text: str) -> dt.datetime:
    """Return a date-time with a zone: UTC unless the text names another."""
    time = dt.datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)

"""``python -m service`` serves rankings.

With ``--check DIR`` it verifies an artifact instead, with ``keys`` it manages API keys.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import ipaddress
import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from service import logs, tracing
from service.access import commands as key_commands
from service.api.server import Server, check_tls, raise_descriptors
from service.app import create_app
from service.catalog import lookup
from service.contract.artifact import ArtifactError, open_artifact
from service.errors import KeysError
from service.models.scorer import Scorer
from service.settings import PREFIX, Settings, describe

_COLLECT_AT = 20_000  # objects allocated and not freed


def main(arguments: Sequence[str] | None = None, program: str = "python -m service") -> int:
    """Read arguments and settings, then serve, check or manage keys; returns the exit code.

    Without ``arguments`` it reads those of the process. ``program`` is its name in messages.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description="Serve rankings over HTTP.",
        epilog=_settings_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--check", type=Path, metavar="DIR", help="verify the artifact in DIR and exit"
    )
    commands = parser.add_subparsers(dest="command", metavar="")
    key_commands.add_arguments(commands.add_parser("keys", help="make, list or remove API keys"))
    options = parser.parse_args(arguments)
    if options.check:
        return check(options.check)
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            message = problem["msg"].removeprefix("Value error, ")
            if problem["loc"]:
                message = f"{PREFIX}{str(problem['loc'][0]).upper()}: {message}"
            print(message, file=sys.stderr)  # noqa: T201  # for people
        return 2
    if options.command == "keys":
        return key_commands.run(options, settings.keys_file)
    if tracing.wanted(settings.otel) and not tracing.is_installed():
        print(f"RANK_OTEL: {tracing.MEND}, or set RANK_OTEL=false", file=sys.stderr)  # noqa: T201  # for people
        return 2
    logs.configure(settings.log_level, settings.log_format, settings.log_repeats)
    return serve(settings)


def serve(settings: Settings) -> int:
    """Listen and serve until a signal stops the service; returns the exit code."""
    if not lookup.COMPILED:
        logging.info(
            "items are looked up in NumPy, at more cost: install a C compiler, and the service anew"
        )
    listeners = _listen(settings)
    if not listeners:
        return 1
    if settings.admin_port is not None:  # now the one that was free
        settings = settings.model_copy(update={"admin_port": listeners[-1].getsockname()[1]})
    app = create_app(settings)
    try:
        app.state.guard.load()
        check_tls(settings)
        raise_descriptors(settings)
    except (KeysError, ValueError) as error:
        _close(listeners)
        print(error, file=sys.stderr)  # noqa: T201  # for people
        return 2
    # Requests leave hardly any cyclic garbage, but by default every few requests run a collection.
    gc.set_threshold(_COLLECT_AT)
    scheme = "http" if settings.tls_certificate is None else "https"
    for listener in listeners:
        address, port = listener.getsockname()[:2]
        has_docs = ", documentation at /docs" if listener is listeners[-1] else ""
        logging.info("listening on %s://%s:%d%s", scheme, address, port, has_docs)
    if settings.access == "open" and not _is_loopback(listeners[0]):
        logging.warning("RANK_ACCESS=open: anybody who reaches the port may call")
    # uvicorn raises the interrupt again once it has drained; Ctrl-C is no error.
    with contextlib.suppress(KeyboardInterrupt):
        Server(app, settings).run(sockets=listeners)
    return 0


def _listen(settings: Settings) -> list[socket.socket]:
    """Return a listener for requests and, by option, one for operators; empty if one fails."""
    wanted = [("", settings.host, settings.port)]
    if settings.admin_port is not None:
        wanted.append(("ADMIN_", settings.admin_host, settings.admin_port))
    listeners = []
    for prefix, host, port in wanted:
        try:
            family = socket.getaddrinfo(host, port)[0][0]
            listeners.append(socket.create_server((host, port), family=family, backlog=2048))
        except OSError as error:
            logging.error(
                "cannot listen on %s:%d: %s; set RANK_%sHOST or RANK_%sPORT",
                host, port, error, prefix, prefix,
            )  # fmt: skip
            _close(listeners)
            return []
    return listeners


def _close(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def check(folder: Path) -> int:
    """Verify hashes, signatures and golden outputs of an artifact; returns the exit code."""
    try:
        scorer = Scorer(open_artifact(folder.resolve()))
        scorer.replay()
    except ArtifactError as error:
        print(error, file=sys.stderr)  # noqa: T201  # for people
        return 1
    print(f"{scorer.artifact.label}: all files and golden logits are valid")  # noqa: T201  # for people
    return 0


def _settings_table() -> str:
    lines = ["settings, as environment variables:"]
    for variable, default, bounds, description in describe():
        lines.append(f"  {variable:<24} {description}")
        lines.append(f"  {'':<24} default {default or 'none'}{f'; {bounds}' if bounds else ''}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

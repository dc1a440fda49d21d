"""``python -m service`` serves rankings; with ``--check DIR`` it verifies an artifact and exits."""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import socket
import sys
from pathlib import Path

from pydantic import ValidationError

from service import logs, tracing
from service.api.server import Server
from service.app import create_app
from service.contract.artifact import ArtifactError, open_artifact
from service.models.scorer import Scorer
from service.settings import PREFIX, Settings, describe

_COLLECT_AT = 20_000  # objects allocated and not freed


def main() -> int:
    """Read the arguments and settings, then serve or check; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serve rankings over HTTP.",
        epilog=_settings_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--check", type=Path, metavar="DIR", help="verify the artifact in DIR and exit"
    )
    arguments = parser.parse_args()
    if arguments.check:
        return check(arguments.check)
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = PREFIX + str(problem["loc"][0]).upper()
            print(f"{name}: {problem['msg']}", file=sys.stderr)  # noqa: T201  # for people
        return 2
    if tracing.wanted(settings.otel) and not tracing.is_installed():
        print(f"RANK_OTEL: {tracing.MEND}, or set RANK_OTEL=false", file=sys.stderr)  # noqa: T201  # for people
        return 2
    logs.configure(settings.log_level, settings.log_format, settings.log_repeats)
    return serve(settings)


def serve(settings: Settings) -> int:
    """Listen and serve until a signal stops the service; returns the exit code."""
    host, port = settings.host, settings.port
    try:
        family = socket.getaddrinfo(host, port)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        logging.error("cannot listen on %s:%d: %s; set RANK_HOST or RANK_PORT", host, port, error)
        return 1
    # Requests leave hardly any cyclic garbage, but by default every few requests run a collection.
    gc.set_threshold(_COLLECT_AT)
    port = listener.getsockname()[1]
    logging.info("listening on http://%s:%d, documentation at /docs", host, port)
    # uvicorn raises the interrupt again once it has drained; Ctrl-C is no error.
    with contextlib.suppress(KeyboardInterrupt):
        Server(create_app(settings), settings).run(sockets=[listener])
    return 0


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

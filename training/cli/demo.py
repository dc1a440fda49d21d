"""``demo``: the whole path on simulated data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    build: Annotated[Path, typer.Option(help="Folder of the demo.")] = Path("build/demo"),
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; default: the first free from 8000.")
    ] = None,
    once: Annotated[bool, typer.Option(help="Exit after the rankings.")] = False,
) -> None:
    """Simulate, train, publish, serve, and rank one user at three tradeoffs."""
    from training.demo.demo import run_demo
    from training.fitting.device import limit_threads

    limit_threads()
    run_demo(build, port=port, once=once)

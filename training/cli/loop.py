"""``loop``: simulated users, days of serving and learning from what was served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.errors import ConfigError


def loop(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("build/loop"),
    days: Annotated[int, typer.Option(min=1, help="Simulated days.")] = 10,
    users: Annotated[int, typer.Option(min=100, help="Simulated users.")] = 2000,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    slot_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of rankings with a uniform slot.")
    ] = 0.1,
    arms: Annotated[
        str, typer.Option(help="Tradeoffs to serve at; `drawn`: randomised ones.")
    ] = "1,0.5,0,drawn",
) -> None:
    """Serve simulated users day after day, train on what they clicked, and plot what it does.

    Users have a known truth and see what the service returns, over HTTP and a private Redis. Run
    the same command again to resume an interrupted one.
    """
    from training.demo.loop.plot import plot_agreement, plot_loop
    from training.demo.loop.run import ARMS, Options, run_loop
    from training.demo.loop.table import table

    by_text = {"drawn" if arm.tradeoff is None else f"{arm.tradeoff:g}": arm for arm in ARMS}
    names = arms.split(",")
    for name in names:
        if name not in by_text:
            raise ConfigError(f"--arms: {name!r} is none of {', '.join(by_text)}")
    options = Options(days=days, users=users, slot_share=slot_share)
    results = run_loop(out, options, [by_text[name] for name in names], range(seed, seed + seeds))
    title = f"{users:,} simulated users, {days} days, {seeds} seeds, trained anew each day"
    plot_loop(results, out / "loop.png", title=title)
    plot_agreement(results, out / "agreement.png", title="Uniform slots against the truth")
    typer.echo(table(results))
    typer.echo(f"plots: {out / 'loop.png'}, {out / 'agreement.png'}")

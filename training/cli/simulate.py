"""``simulate``: a biased log with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import Out


def simulate(
    out: Out,
    source: Annotated[
        Path | None,
        typer.Option(
            help="TikTok folder, for real content, or Jester folder, for real tastes; "
            "default: generated."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every draw.")] = 0,
    impressions: Annotated[
        int | None, typer.Option(min=1, help="Logged impressions to aim at.")
    ] = None,
    policy_weight: Annotated[
        float, typer.Option(min=0, help="Weight of the truth in the logging policy.")
    ] = 0.8,
    taste_dim: Annotated[
        int | None,
        typer.Option(help="Dimensions of the users' tastes, with TikTok.", show_default="32"),
    ] = None,
) -> None:
    """Simulate biased logs with known truth and a uniformly exposed test."""
    from training.data.simulate.simulate import simulate as simulate_dataset

    simulate_dataset(
        out,
        source=source,
        seed=seed,
        impressions=impressions,
        policy_weight=policy_weight,
        taste_dim=taste_dim,
    )
    typer.echo(f"wrote {out}")

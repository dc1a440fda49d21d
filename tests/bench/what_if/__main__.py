"""``python -m tests.bench.what_if``: how far what-if can be trusted.

Over simulated logs whose truth is known: bias, and coverage of 95 % intervals, of each estimator
from randomised tradeoffs, uniform slots and randomised arms; whether the promised number of
decisions tells tradeoffs apart. Then the same data for the Open Bandit Pipeline, if its environment
exists (``make bench-what-if`` makes it).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from tests.bench.common import interpreter
from tests.bench.what_if import study
from tests.bench.what_if.obp_cases import open_bandit_case, ours, slate_case, theirs

FIXTURE = Path("tests/unit/training/evaluation/off_policy/obp.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=200)
    parser.add_argument("--build", type=Path, default=Path("build/bench"))
    parser.add_argument("--bandit", type=Path, default=Path("../shared/data/obd"))
    parser.add_argument("--fixture", action="store_true", help="write obp's estimates for a test")
    options = parser.parse_args()
    obp = interpreter(options.build, "obp")
    if options.fixture:
        _write_fixture(obp, options.bandit)
        return
    _figures("Randomised tradeoffs, 300 users of 3 visits", study.tradeoffs(options.logs, 300, 3))
    _figures("Uniform slots, 3,000 users of 3 visits", study.slots(options.logs, 3000, 3))
    _figures("Randomised arms, 20,000 customers", study.arms(5 * options.logs, 20_000))
    typer.echo("\n### Promises\n\n| pair | promised, median | right order | sure |")
    typer.echo("| --- | --- | --- | --- |")
    for name, needed, right, sure in study.promises(options.logs, 1000):
        typer.echo(f"| {name} | {needed:,} | {right:.3f} | {sure:.3f} |")
    if not obp.exists():
        typer.echo(f"\nnot compared with obp: {obp} is missing; make bench-what-if makes it")
        return
    bandit, slate = open_bandit_case(options.bandit), slate_case(500)
    with tempfile.TemporaryDirectory() as scratch:
        other = theirs(obp, bandit, slate, Path(scratch))
    typer.echo("\n### Open Bandit Pipeline\n\n| data | estimator | ours | obp |")
    typer.echo("| --- | --- | --- | --- |")
    for kind, mine in ours(bandit, slate).items():
        for name, value in mine.items():
            typer.echo(f"| {kind} | {name} | {_shown(value)} | {_shown(other[kind][name])} |")


def _figures(title: str, rows: Iterable[study.Row]) -> None:
    typer.echo(f"\n### {title}\n\n| estimate | bias | spread | mean error | coverage |")
    typer.echo("| --- | --- | --- | --- | --- |")
    for name, bias, spread, error, coverage in rows:
        typer.echo(f"| {name} | {bias:+.2%} | {spread:.2%} | {error:.2%} | {coverage:.3f} |")


def _shown(value: Any) -> str:
    return f"{value:.8f}" if isinstance(value, float) else ", ".join(f"{v:.5f}" for v in value)


def _write_fixture(obp: Path, folder: Path) -> None:
    bandit, slate = open_bandit_case(folder, rows=600), slate_case(20)
    with tempfile.TemporaryDirectory() as scratch:
        expected = theirs(obp, bandit, slate, Path(scratch))
    cases = {
        kind: {name: array.tolist() for name, array in case.items()}
        for kind, case in (("bandit", bandit), ("slate", slate))
    }
    FIXTURE.write_text(json.dumps({"cases": cases, "obp": expected}), encoding="utf-8")


if __name__ == "__main__":
    main()

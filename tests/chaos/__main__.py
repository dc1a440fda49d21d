"""Runs scenarios one after another under load and reports what clients saw.

Exits with 1 if one is red. Writes ``build/chaos/chaos.json`` and ``.md``, which keep the earlier
results of scenarios that were not run, and the part of ``docs/reliability.md`` made from them.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench.common import ROOT, log
from tests.chaos import report, scenarios
from tests.chaos.outcome import Outcome
from tests.chaos.requests import Judge, make_cases
from tests.chaos.runner import QUICK, WHOLE, run
from tests.chaos.scenario import SCENARIOS, Scenario
from tests.chaos.soak import soak
from tests.chaos.world import open_world

BUILD = ROOT / "build" / "chaos"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios that the arguments name; return the exit code."""
    options = _options(arguments)
    if options.list:
        for entry in SCENARIOS.values():
            print(f"{entry.name:<30} {entry.fault}")  # noqa: T201  # its output
        return 0
    chosen = [SCENARIOS[name] for name in options.only or SCENARIOS]
    if not shutil.which("haproxy"):
        log("haproxy is not on the PATH: install it, as `make chaos` does on Debian")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that all is stopped
    build: Path = options.build.absolute()
    build.mkdir(parents=True, exist_ok=True)
    if options.soak is not None:
        world = open_world(build)
        cases, judge = make_cases(world), Judge(world)
        folder = build / "logs" / "soak"
        report.write_soak(build, soak(world, cases, judge, folder, options.soak, options.rate))
        return 0
    if options.page:
        report.write_page(build)
        return 0
    outcomes = _run(chosen, build, rate=options.rate, quick=options.quick)
    report.write(build, outcomes, quick=options.quick)
    return int(any(row.faults for row in outcomes))


def _run(chosen: Sequence[Scenario], build: Path, *, rate: float, quick: bool) -> list[Outcome]:
    world = open_world(build)
    cases, judge = make_cases(world), Judge(world)
    pace = replace(QUICK if quick else WHOLE, rate=rate)
    outcomes = []
    for entry in chosen:
        began_s = time.monotonic()
        row = run(entry, world, cases, judge, build / "logs" / entry.name, pace)
        outcomes.append(row)
        log(f"{row.verdict:<6} {row.name} ({time.monotonic() - began_s:.0f} s)")
        for fault in row.faults:
            log(f"       {fault}")
    return outcomes


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=SCENARIOS, help="run these scenarios alone"
    )
    parser.add_argument("--quick", action="store_true", help="hold each fault for a short time")
    parser.add_argument("--rate", type=float, default=WHOLE.rate, help="requests per second")
    parser.add_argument("--list", action="store_true", help="list the scenarios and exit")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="soak instead")
    parser.add_argument("--page", action="store_true", help="write docs/reliability.md alone")
    parser.add_argument("--build", type=Path, default=BUILD, help="folder of the results and logs")
    return parser.parse_args(arguments)


assert scenarios  # importing it registers the scenarios

if __name__ == "__main__":
    sys.exit(main())

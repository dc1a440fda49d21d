"""Compares the cost of ``/rank`` with other servers built from the same parts.

Each variant is a server of its own. The variants take turns on one core; client and Redis run on
another. All serve the same ONNX files from the same records, and their rankings are compared before
the clock starts. Writes ``hotpath.json``, ``hotpath.md`` and ``hotpath.png``; for one-product
rankers ``hotpath-<ranker>.*``; a short table of each as ``*-readme.md``; and the measurements of
``--further`` as ``hotpath-further.json`` and ``.md``, which keep earlier results.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import redis

from tests.bench.common import ROOT, Spread, bind, last_core, log
from tests.bench.hotpath.agreement import Case, Cases, DisagreementError
from tests.bench.hotpath.further import MEASUREMENTS, catalogue, pythons
from tests.bench.hotpath.load import LoadError
from tests.bench.hotpath.measure import Budget, Ground, Turn, take_turn
from tests.bench.hotpath.report import Row, further_table, main_table, plot, short_table
from tests.bench.hotpath.servers import ServerError
from tests.bench.hotpath.stages import stages
from tests.bench.hotpath.variants import IDIOMATIC_ONE_THREAD, VARIANTS, Variant
from tests.bench.hotpath.world import MODELS, fill, open_world
from training.demo.local_redis import private_redis

_CASES = 200  # requests for each number of candidates
# Variants measured with one-product rankers; the others would repeat the result of the network.
_OF_ONE_PRODUCT = ("ours", "floor", "idiomatic", IDIOMATIC_ONE_THREAD.name, "tuned")
_ATTEMPTS = 2
_MEASUREMENTS = {"stages": stages, **MEASUREMENTS}

Turns = dict[str, list[dict[int, Turn]]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write results."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that servers are stopped
    build: Path = options.build.absolute()
    build.mkdir(parents=True, exist_ok=True)
    worlds = {ranker: open_world(build, ranker) for ranker in options.rankers}
    client_core, server_core = min(os.sched_getaffinity(0)), last_core()
    if client_core == server_core:
        raise SystemExit("two cores are needed: one for the server, one for client and Redis")
    bind(client_core)  # also binds Redis, which this process starts
    for ranker, world in worlds.items():
        cases = Cases(world, options.items)
        with private_redis() as url, redis.Redis.from_url(url) as client:
            fill(client, world, options.items)
            cases.write_states(client)
            budget = Budget(options.cpu_s, options.wall_s, options.open_s)
            ground = Ground(build, world, url, server_core, budget, options.ort_threads)
            if options.compare:
                _compare(ground, ranker, cases, options)
            if options.further and ranker == options.rankers[0]:
                _further(ground, ranker, cases, client, options)


def _compare(ground: Ground, ranker: str, cases: Cases, options: argparse.Namespace) -> None:
    """Measure the variants in turns, so that other load on the machine affects all alike."""
    chosen = [
        variant
        for variant in VARIANTS
        if (not options.only or variant.name in ("ours", *options.only))
        and (ranker == "mlp" or variant.name in _OF_ONE_PRODUCT)
    ]
    cases_by_size = {n: cases.make(n, _CASES) for n in options.candidates}
    turns: Turns = {}
    failed: dict[str, str] = {}
    for repeat in range(options.repeats):
        for variant in chosen:
            if variant.name not in failed:
                _take(ground, variant, cases_by_size, repeat, turns, failed)
        _write(ground, ranker, [v for v in chosen if v.name in turns], turns, failed)


def _take(
    ground: Ground,
    variant: Variant,
    cases: Mapping[int, Sequence[Case]],
    repeat: int,
    turns: Turns,
    failed: dict[str, str],
) -> None:
    """Take a turn, with one retry; drop a variant that fails twice."""
    reason = ""
    for _ in range(_ATTEMPTS):
        try:
            turn = take_turn(ground, variant, cases, repeat)
        except (ServerError, LoadError, DisagreementError, TimeoutError, OSError) as error:
            reason = f"{type(error).__name__}: {error}"
            log(f"{variant.name}: {reason}")
            continue
        turns.setdefault(variant.name, []).append(turn)
        costs = ", ".join(f"{measured.cpu_us:,.0f} us at {n}" for n, measured in turn.items())
        log(f"turn {repeat + 1}, {variant.name}: {costs}")
        return
    if variant.name == "ours":
        raise SystemExit(f"ours: {reason}")
    failed[variant.name] = reason
    turns.pop(variant.name, None)


def _write(
    ground: Ground,
    ranker: str,
    measured: Sequence[Variant],
    turns: Turns,
    failed: Mapping[str, str],
) -> None:
    """Write rows, tables and the plot of all turns so far."""
    sizes = list(turns["ours"][0])
    rows = [_row(variant, n, turns, ground.build) for n in sizes for variant in measured]
    stem = "hotpath" if ranker == "mlp" else f"hotpath-{ranker}"
    flat = [row.flat() for row in rows if row.variant != IDIOMATIC_ONE_THREAD.name]
    (ground.build / f"{stem}.json").write_text(json.dumps(flat, indent=2))
    plot(rows, ground.build / f"{stem}.png")
    kind = "a network with learned interactions" if ranker == "mlp" else "one product"
    setting = (
        f"Ranker `{ranker}` ({kind}), top 50 of N candidates, {len(turns['ours'])} alternating "
        "turns of every variant, the server on one core."
    )
    for name, text in (
        (f"{stem}.md", main_table(rows, setting, failed)),
        (f"{stem}-readme.md", short_table(rows)),
    ):
        (ground.build / name).write_text(text, encoding="utf-8")
    log(short_table(rows))


def _row(variant: Variant, n: int, turns: Turns, build: Path) -> Row:
    measured = [turn[n] for turn in turns[variant.name]]
    ours = [turn[n] for turn in turns["ours"]]
    return Row(
        variant=variant.name,
        n=n,
        cpu_us=Spread.of([turn.cpu_us for turn in measured]),
        ratio=Spread.of(
            [turn.cpu_us / base.cpu_us for turn, base in zip(measured, ours, strict=True)]
        ),
        p50_ms=median(turn.p50_ms for turn in measured),
        p99_ms=median(turn.p99_ms for turn in measured),
        late_p99_ms=median(turn.late_p99_ms for turn in measured),
        rps=median(turn.rps for turn in measured),
        rss_mb=max(turn.rss_mb for turn in measured),
        difference=max(turn.difference for turn in measured),
        library=variant.library(build),
        description=variant.description,
    )


def _further(
    ground: Ground, ranker: str, cases: Cases, client: redis.Redis, options: argparse.Namespace
) -> None:
    """Measure the service alone; after each measurement, add it to the earlier results."""
    path = ground.build / "hotpath-further.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in options.further:
        log(f"further: {name}")
        if name == "catalogue":
            with private_redis() as url, redis.Redis.from_url(url) as other:
                table = catalogue(replace(ground, redis_url=url), cases, other, options.catalogues)
        elif name == "pythons":
            table = pythons(ground, cases, options.pythons)
        else:
            table = _MEASUREMENTS[name](ground, cases, client)
        stem = name if ranker == "mlp" else f"{name}-{ranker}"
        results[stem] = {"caption": f"{table.caption} Ranker `{ranker}`.", "rows": table.rows}
        path.write_text(json.dumps(results, indent=2), encoding="utf-8")
        texts = [further_table(entry["caption"], entry["rows"]) for entry in results.values()]
        path.with_suffix(".md").write_text("\n".join(texts), encoding="utf-8")
        log(further_table(results[stem]["caption"], table.rows))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [variant.name for variant in VARIANTS]
    further = [*_MEASUREMENTS, "catalogue", "pythons"]
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hotpath", description=__doc__)
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build/bench", help="folder of all results"
    )
    parser.add_argument(
        "--only", nargs="*", choices=names, help="variants to measure; ours is always one"
    )
    parser.add_argument("--repeats", type=int, default=3, help="turns of every variant")
    parser.add_argument("--candidates", type=int, nargs="+", default=[100, 500, 1000])
    parser.add_argument("--items", type=int, default=10_000, help="size of the catalogue")
    parser.add_argument("--rankers", nargs="+", choices=list(MODELS), default=["mlp", "decomposed"])
    parser.add_argument(
        "--compare", action=argparse.BooleanOptionalAction, default=True,
        help="compare the variants; without it, run only --further",
    )  # fmt: skip
    parser.add_argument(
        "--further", nargs="*", choices=further,
        default=["stages", "candidates", "concurrency", "freshness", "catalogue"],
        help="measurements of the service alone, with the first ranker",
    )  # fmt: skip
    parser.add_argument(
        "--catalogues", type=int, nargs="+", default=[10_000, 100_000, 1_000_000],
        help="catalogue sizes of --further catalogue",
    )  # fmt: skip
    parser.add_argument(
        "--pythons", nargs="+", default=[], metavar="NAME",
        help="interpreters of --further pythons; `make bench-pythons` sets up their environments",
    )  # fmt: skip
    parser.add_argument(
        "--ort-threads", type=int, default=0,
        help="onnxruntime threads of the idiomatic handler, which all peers run; 0: its default",
    )  # fmt: skip
    parser.add_argument(
        "--cpu-s", type=float, default=1.2, help="server CPU seconds per closed loop"
    )
    parser.add_argument("--wall-s", type=float, default=20.0, help="longest closed loop, seconds")
    parser.add_argument("--open-s", type=float, default=2.5, help="seconds per open loop")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

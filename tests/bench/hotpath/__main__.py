"""Measures the service's hot path beside what others would build.

Each variant is a server of its own on one core, one at a time, in turns; client and Redis are on
another. All serve the same ONNX files from the same records; rankings are compared before timing.
Writes ``hotpath.json``, ``hotpath.md`` and ``hotpath.png``, the same for rankers of one product as
``hotpath-<ranker>.*``, a short table of each for the README as ``*-readme.md``, and what
``--further`` measures as ``hotpath-further.json`` and ``.md``: what was not measured anew stays.
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
from tests.bench.hotpath.further import MEASUREMENTS, catalogue
from tests.bench.hotpath.load import LoadError
from tests.bench.hotpath.measure import Budget, Ground, Turn, take_turn
from tests.bench.hotpath.report import Row, further_table, main_table, plot, short_table
from tests.bench.hotpath.servers import ServerError
from tests.bench.hotpath.stages import stages
from tests.bench.hotpath.variants import ASIDE, VARIANTS, Variant
from tests.bench.hotpath.world import MODELS, fill, open_world
from training.demo.local_redis import private_redis

_CASES = 200
# One-product rankers are held against what shares their form; the rest would say nothing new.
_OF_ONE_PRODUCT = ("ours", "floor", "idiomatic", ASIDE.name, "tuned")
_ATTEMPTS = 2
_MEASUREMENTS = {"stages": stages, **MEASUREMENTS}

Turns = dict[str, list[dict[int, Turn]]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no server is left behind
    build: Path = options.build.absolute()
    build.mkdir(parents=True, exist_ok=True)
    worlds = {ranker: open_world(build, ranker) for ranker in options.rankers}
    client_core, server_core = min(os.sched_getaffinity(0)), last_core()
    if client_core == server_core:
        raise SystemExit("this needs two cores: one for the server, one for client and Redis")
    bind(client_core)  # and Redis, which this process starts
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
    """Measure the variants in turns, so that a neighbour on the machine disturbs them alike."""
    chosen = [
        variant
        for variant in VARIANTS
        if (not options.only or variant.name in ("ours", *options.only))
        and (ranker == "mlp" or variant.name in _OF_ONE_PRODUCT)
    ]
    asked = {n: cases.make(n, _CASES) for n in options.candidates}
    turns: Turns = {}
    failed: dict[str, str] = {}
    for repeat in range(options.repeats):
        for variant in chosen:
            if variant.name not in failed:
                _take(ground, variant, asked, repeat, turns, failed)
        _write(ground, ranker, [v for v in chosen if v.name in turns], turns, failed)


def _take(
    ground: Ground,
    variant: Variant,
    cases: Mapping[int, Sequence[Case]],
    repeat: int,
    turns: Turns,
    failed: dict[str, str],
) -> None:
    """Take a turn, once again where it fails; a variant that fails twice is out."""
    why = ""
    for _ in range(_ATTEMPTS):
        try:
            turn = take_turn(ground, variant, cases, repeat)
        except (ServerError, LoadError, DisagreementError, TimeoutError, OSError) as error:
            why = f"{type(error).__name__}: {error}"
            log(f"{variant.name}: {why}")
            continue
        turns.setdefault(variant.name, []).append(turn)
        costs = ", ".join(f"{measured.cpu_us:,.0f} us at {n}" for n, measured in turn.items())
        log(f"turn {repeat + 1}, {variant.name}: {costs}")
        return
    if variant.name == "ours":
        raise SystemExit(f"ours: {why}")
    failed[variant.name] = why
    turns.pop(variant.name, None)


def _write(
    ground: Ground,
    ranker: str,
    measured: Sequence[Variant],
    turns: Turns,
    failed: Mapping[str, str],
) -> None:
    """Write rows, tables and plot of the turns so far."""
    sizes = list(turns["ours"][0])
    rows = [_row(variant, n, turns, ground.build) for n in sizes for variant in measured]
    stem = "hotpath" if ranker == "mlp" else f"hotpath-{ranker}"
    flat = [row.flat() for row in rows if row.variant != ASIDE.name]
    (ground.build / f"{stem}.json").write_text(json.dumps(flat, indent=2))
    plot(rows, ground.build / f"{stem}.png")
    kind = "a network with learned interactions" if ranker == "mlp" else "one product"
    setting = (
        f"Ranker `{ranker}` ({kind}), top 50 of N candidates, {len(turns['ours'])} turns of every "
        "variant in alternation, server on one core."
    )
    for name, text in (
        (f"{stem}.md", main_table(rows, setting, failed)),
        (f"{stem}-readme.md", short_table(rows)),
    ):
        (ground.build / name).write_text(text, encoding="utf-8")
    log(short_table(rows))


def _row(variant: Variant, n: int, turns: Turns, build: Path) -> Row:
    own = [turn[n] for turn in turns[variant.name]]
    ours = [turn[n] for turn in turns["ours"]]
    return Row(
        variant=variant.name,
        n=n,
        cpu_us=Spread.of([turn.cpu_us for turn in own]),
        ratio=Spread.of([turn.cpu_us / base.cpu_us for turn, base in zip(own, ours, strict=True)]),
        p50_ms=median(turn.p50_ms for turn in own),
        p99_ms=median(turn.p99_ms for turn in own),
        late_p99_ms=median(turn.late_p99_ms for turn in own),
        rps=median(turn.rps for turn in own),
        rss_mb=max(turn.rss_mb for turn in own),
        difference=max(turn.difference for turn in own),
        library=variant.library(build),
        what=variant.what,
    )


def _further(
    ground: Ground, ranker: str, cases: Cases, client: redis.Redis, options: argparse.Namespace
) -> None:
    """Measure ours alone; after each, write it beside what was measured before."""
    path = ground.build / "hotpath-further.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in options.further:
        log(f"further: {name}")
        if name == "catalogue":
            with private_redis() as url, redis.Redis.from_url(url) as other:
                own = replace(ground, redis_url=url)
                table = catalogue(own, cases, other, options.catalogues)
        else:
            table = _MEASUREMENTS[name](ground, cases, client)
        stem = name if ranker == "mlp" else f"{name}-{ranker}"
        known[stem] = {"caption": f"{table.caption} Ranker `{ranker}`.", "rows": table.rows}
        path.write_text(json.dumps(known, indent=2), encoding="utf-8")
        texts = [further_table(entry["caption"], entry["rows"]) for entry in known.values()]
        path.with_suffix(".md").write_text("\n".join(texts), encoding="utf-8")
        log(further_table(known[stem]["caption"], table.rows))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [variant.name for variant in VARIANTS]
    further = [*_MEASUREMENTS, "catalogue"]
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hotpath", description=__doc__)
    parser.add_argument("--build", type=Path, default=ROOT / "build/bench", help="where all goes")
    parser.add_argument("--only", nargs="*", choices=names, help="some variants; ours always is")
    parser.add_argument("--repeats", type=int, default=3, help="turns of every variant")
    parser.add_argument("--candidates", type=int, nargs="+", default=[100, 500, 1000])
    parser.add_argument("--items", type=int, default=10_000, help="size of the catalogue")
    parser.add_argument("--rankers", nargs="+", choices=list(MODELS), default=["mlp", "decomposed"])
    parser.add_argument(
        "--compare", action=argparse.BooleanOptionalAction, default=True,
        help="measure the variants; without, --further alone",
    )  # fmt: skip
    parser.add_argument(
        "--further", nargs="*", choices=further,
        default=["stages", "candidates", "concurrency", "freshness", "catalogue"],
        help="measured of ours alone, with the first ranker",
    )  # fmt: skip
    parser.add_argument(
        "--catalogues", type=int, nargs="+", default=[10_000, 100_000, 1_000_000],
        help="sizes for --further catalogue",
    )  # fmt: skip
    parser.add_argument(
        "--ort-threads", type=int, default=0,
        help="onnxruntime threads of the idiomatic handler and so of all peers; 0: its default",
    )  # fmt: skip
    parser.add_argument("--cpu-s", type=float, default=1.2, help="server CPU seconds a closed loop")
    parser.add_argument("--wall-s", type=float, default=20.0, help="a closed loop's longest")
    parser.add_argument("--open-s", type=float, default=2.5, help="seconds an open loop")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

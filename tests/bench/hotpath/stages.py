"""Measures the CPU time of each stage of a ranking, alone and warm in this process."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from unittest.mock import Mock

import msgspec
import redis
from pydantic import SecretStr

from service import logs
from service.api import reports, trace_context
from service.api.rank import parse
from service.catalog.item_table import ItemTable
from service.exposure.decision_log import DecisionLog
from service.logs.formats import OneLineFormatter
from service.logs.repeats import RepeatLimit
from service.logs.writer import Writer
from service.models.loaded_model import LoadedModel
from service.models.scorer import Scorer
from service.ranking.answer import rank_pool
from service.ranking.decisions import Decisions
from service.ranking.exploration import Exploration
from service.ranking.items import Columns, RankedItem, as_rows
from service.ranking.messages import RankRequest, RankResponse
from service.ranking.request import Clock, Ranking
from service.ranking.top_k import top_k
from service.settings import Settings
from service.store.feedback import FeedbackStreams
from service.store.limit import Limit
from service.telemetry import Telemetry
from service.telemetry.rankings import STAGES
from tests.bench.hotpath.agreement import Cases
from tests.bench.hotpath.measure import Ground, run
from tests.bench.hotpath.protocol import TOP_K
from tests.bench.hotpath.report import Cell, Table

_SIZES = (100, 500, 1000)
_BODIES, _ROUNDS = 50, 40
_GRID = ((0.0, 0.2), (0.5, 0.3), (1.0, 0.5))
_REQUEST_ID = "f75c363a63ce4f2db53d2c1edfdf4d1a"
_HEADERS = [
    (b"host", b"127.0.0.1"),
    (b"content-type", b"application/json"),
    (b"accept", b"*/*"),
    (b"content-length", b"6500"),
    (b"x-request-id", b"f75c363a63ce4f2db53d2c1edfdf4d1a"),
    (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
]

_encode = msgspec.json.Encoder().encode


def stages(ground: Ground, cases: Cases, _client: redis.Redis) -> Table:
    """Measure each stage at several N; a stage includes its parts."""
    scorer = Scorer(ground.world.artifact)
    scorer.replay()
    table = ItemTable(cases.states.shape[1], 1 << 32)
    table.put(cases.item_ids, cases.states, cases.cold)
    rows: list[dict[str, Cell]] = [
        {"candidates": n, **_at(scorer, table, cases, n, ground.redis_url)} for n in _SIZES
    ]
    caption = (
        "CPU microseconds of each stage, alone and warm: the minimum of many rounds. `logits` and "
        "`best` are parts of `rank`. `slots`: `rank` with uniform slots in a share of 0.05; "
        "`tradeoffs`: with randomised tradeoffs in a share of 0.1, on a grid of three; `both`: "
        "with both. `ids`: X-Request-ID and traceparent, taken and returned. `report`: the log's "
        "line of a ranking. `decision`: a decision of 20 places, made and written. Not measured: "
        "reading the user, HTTP and metrics."
    )
    return Table("stages", caption, rows)


def _at(scorer: Scorer, table: ItemTable, cases: Cases, n: int, url: str) -> dict[str, Cell]:
    bodies = [case.body for case in cases.make(n, _BODIES)]
    candidates = [parse(body).candidates or [] for body in bodies]
    rows = [table.rows(item_ids) for item_ids in candidates]
    pools = list(map(table.gather, candidates, rows))
    user = cases.user(0)
    model = Mock(spec=LoadedModel, scorer=scorer, label="bench@1")
    request = RankRequest(user_id="u", top_k=TOP_K)
    ranking = Ranking(model, request, Clock(None, Limit(1.0)), _REQUEST_ID, may_log=True)
    ranking.tradeoff = 0.5
    ids = [f"{_REQUEST_ID}{number}" for number in range(_BODIES)]

    def explore(slot_share: float, tradeoff_share: float) -> float:
        drawing = Exploration(slot_share, 10, tradeoff_share, _GRID, 20)

        def rank(i: int) -> None:
            explored = Ranking(model, request, ranking.clock, ids[i])
            explored.draw = drawing.draw(ids[i], 0.5, moves=True)
            explored.tradeoff = explored.draw.tradeoff
            rank_pool(explored, user, pools[i])

        return _least_us(rank)

    logits = [scorer.score(user, pool.states, [0.5])[0, :n] for pool in pools]
    columns = [rank_pool(ranking, user, pool) for pool in pools]
    answers = list(map(as_rows, columns))
    body = _least_us(lambda i: parse(bodies[i]))
    # A string caches its hash: only a fresh parse hashes the ids anew.
    body_and_find = _least_us(lambda i: table.rows(parse(bodies[i]).candidates or []))
    return {
        "body": body,
        "find": body_and_find - body,
        "gather": _least_us(lambda i: table.gather(candidates[i], rows[i])),
        "logits": _least_us(lambda i: scorer.score(user, pools[i].states, [0.5])),
        "best": _least_us(lambda i: top_k(logits[i], candidates[i], TOP_K)),
        "rank": _least_us(lambda i: rank_pool(ranking, user, pools[i])),
        "slots": explore(0.05, 0.0),
        "tradeoffs": explore(0.0, 0.1),
        "both": explore(0.05, 0.1),
        "lay out": _least_us(lambda i: as_rows(columns[i])),
        "answer": _least_us(lambda i: _encode(answers[i])),
        "ids": _least_us(lambda _: _ids()),
        "report": _report_us(candidates[0], answers[0]),
        "decision": _decision_us(ranking, n, columns, url),
    }


def _decision_us(ranking: Ranking, n: int, columns: list[Columns], url: str) -> float:
    """Return the cost of one decision without exploration, with its share of a write."""
    settings = Settings(decisions=1.0, redis_url=SecretStr(url), namespace="bench-decisions")
    telemetry = Telemetry()

    async def least_us() -> float:
        streams = FeedbackStreams(settings, telemetry)
        decision_log = DecisionLog(settings, streams, telemetry)
        decisions = Decisions(settings, decision_log, telemetry)
        means = []
        for _ in range(_ROUNDS):
            began = time.thread_time_ns()
            for number in range(settings.decision_batch):
                decisions.draw(ranking)
                if ranking.draw is not None:
                    ranking.draw.pool_size = n
                    decisions.add(ranking.draw, ranking, columns[number % _BODIES], [])
            await decision_log.close(1.0)  # writes the batch
            means.append((time.thread_time_ns() - began) / settings.decision_batch / 1e3)
        await streams.close()
        return min(means)

    return run(least_us())


def _ids() -> None:
    """Take the ids of a request, and return them with its answer."""
    request_id, trace = trace_context.read(_HEADERS)
    trace_context.answer_headers({"request_id": request_id, "trace": trace})


def _report_us(candidates: list[str], items: list[RankedItem]) -> float:
    """Return the cost of the line of a ranking, with its writing to a file that keeps nothing."""
    log = logging.getLogger(reports.__name__)
    log.setLevel(logging.INFO)
    log.propagate = False
    handler = Writer(os.open(os.devnull, os.O_WRONLY))
    handler.setFormatter(OneLineFormatter())
    handler.addFilter(RepeatLimit(10))
    log.addHandler(handler)
    logs.skip_details()
    response = RankResponse(
        request_id="",
        model="bench@1",
        tradeoff=0.5,
        items=items,
        degraded=[],
        timing_ms=dict.fromkeys((*STAGES, "total"), 0.1234567),  # type: ignore[arg-type]  # its keys
    )
    request = RankRequest(user_id="u", candidates=candidates)
    request_id, trace = trace_context.read(_HEADERS)
    ranked = reports.Ranked(request, response, time.perf_counter())
    state = {"request_id": request_id, "trace": trace, "ranked": ranked}
    scope = {"method": "POST", "state": state}
    all_requests = reports.Reports(Settings(log_requests=1.0))
    cost_us = _least_us(lambda _: all_requests.add(scope, "/rank", 200, 0.00123))
    log.removeHandler(handler)
    return cost_us


def _least_us(step: Callable[[int], object]) -> float:
    """Return the fewest microseconds per call, over rounds through all bodies."""
    means = []
    for _ in range(_ROUNDS):
        began = time.thread_time_ns()
        for i in range(_BODIES):
            step(i)
        means.append((time.thread_time_ns() - began) / _BODIES / 1e3)
    return min(means)

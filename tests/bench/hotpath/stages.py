"""Measures the CPU time of each stage of a ranking, alone and warm in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from unittest.mock import Mock

import msgspec
import redis

from service.api.rank import parse
from service.catalog.item_table import ItemTable
from service.models.loaded_model import LoadedModel
from service.models.scorer import Scorer
from service.ranking.answer import rank_pool
from service.ranking.items import as_rows
from service.ranking.messages import RankRequest
from service.ranking.request import Clock, Ranking
from service.ranking.top_k import top_k
from service.store.limit import Limit
from tests.bench.hotpath.agreement import Cases
from tests.bench.hotpath.measure import Ground
from tests.bench.hotpath.protocol import TOP_K
from tests.bench.hotpath.report import Cell, Table

_SIZES = (100, 500, 1000)
_BODIES, _ROUNDS = 50, 40

_encode = msgspec.json.Encoder().encode


def stages(ground: Ground, cases: Cases, _client: redis.Redis) -> Table:
    """Measure each stage at several N; a stage includes its parts."""
    scorer = Scorer(ground.world.artifact)
    table = ItemTable(cases.states.shape[1], 1 << 32)
    table.put(cases.item_ids, cases.states, cases.cold)
    rows: list[dict[str, Cell]] = [
        {"candidates": n, **_at(scorer, table, cases, n)} for n in _SIZES
    ]
    caption = (
        "CPU microseconds of each stage, alone and warm: the minimum of many rounds. `logits` and "
        "`best` are parts of `rank`. Not measured: reading the user, HTTP and metrics."
    )
    return Table("stages", caption, rows)


def _at(scorer: Scorer, table: ItemTable, cases: Cases, n: int) -> dict[str, Cell]:
    bodies = [case.body for case in cases.make(n, _BODIES)]
    candidates = [parse(body).candidates or [] for body in bodies]
    rows = [table.rows(item_ids) for item_ids in candidates]
    pools = list(map(table.gather, candidates, rows))
    user = cases.user(0)
    model = Mock(spec=LoadedModel, scorer=scorer)
    request = RankRequest(user_id="u", top_k=TOP_K)
    ranking = Ranking(model, request, 0.5, Clock(None, Limit(1.0)))
    logits = [scorer.score(user, pool.states, 0.5)[:n] for pool in pools]
    columns = [rank_pool(ranking, user, pool) for pool in pools]
    answers = list(map(as_rows, columns))
    body = _least_us(lambda i: parse(bodies[i]))
    # A string caches its hash: only a fresh parse hashes the ids anew.
    body_and_find = _least_us(lambda i: table.rows(parse(bodies[i]).candidates or []))
    return {
        "body": body,
        "find": body_and_find - body,
        "gather": _least_us(lambda i: table.gather(candidates[i], rows[i])),
        "logits": _least_us(lambda i: scorer.score(user, pools[i].states, 0.5)),
        "best": _least_us(lambda i: top_k(logits[i], candidates[i], TOP_K)),
        "rank": _least_us(lambda i: rank_pool(ranking, user, pools[i])),
        "lay out": _least_us(lambda i: as_rows(columns[i])),
        "answer": _least_us(lambda i: _encode(answers[i])),
    }


def _least_us(step: Callable[[int], object]) -> float:
    """Return the fewest microseconds per call, over rounds through all bodies."""
    means = []
    for _ in range(_ROUNDS):
        began = time.thread_time_ns()
        for i in range(_BODIES):
            step(i)
        means.append((time.thread_time_ns() - began) / _BODIES / 1e3)
    return min(means)

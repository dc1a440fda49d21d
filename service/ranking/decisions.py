"""Decisions: rankings that are logged as shown, and explored."""

from __future__ import annotations

import time
from typing import Any

from msgspec.structs import replace

from service.contract.assignment import unit_hash
from service.contract.feedback import Decision
from service.exposure.decision_log import DecisionLog
from service.ranking.exploration import Draw, Exploration, unexplored
from service.ranking.items import Columns
from service.ranking.messages import Degraded, Explored, RankRequest
from service.ranking.request import Ranking
from service.settings import Settings
from service.settings.feedback import grid
from service.telemetry import Telemetry

_SALT = "decisions"


class Decisions:
    """Chooses the rankings that are logged, explores these, and hands them to the log."""

    def __init__(self, settings: Settings, log: DecisionLog, telemetry: Telemetry) -> None:
        self._share = settings.decisions
        self._places = settings.decision_places
        self._exploration = Exploration(
            settings.explore_slot_share,
            settings.explore_places,
            settings.explore_tradeoff_share,
            grid(settings.explore_tradeoffs),
            settings.decision_places,
        )
        self._log = log
        self._telemetry = telemetry
        self._certain = [1.0] * self._places
        self._most_listed = settings.decision_listed

    def draw(self, ranking: Ranking) -> None:
        """Set what is drawn for a ranking, and its tradeoff, if it is logged.

        A ranking that is not logged is not explored: nothing would be learnt from it.
        """
        request_id = ranking.request_id
        if self._share < 1 and unit_hash(_SALT, request_id) >= self._share:
            return
        if ranking.request.explore:
            grid = ranking.arm.tradeoffs if ranking.arm is not None else ()
            moves = ranking.source == "default"
            ranking.draw = self._exploration.draw(
                request_id, ranking.tradeoff, moves=moves, grid=grid
            )
            ranking.tradeoff = ranking.draw.tradeoff
        else:
            ranking.draw = unexplored(ranking.tradeoff)

    def add(
        self, draw: Draw, ranking: Ranking, columns: Columns, degraded: list[Degraded]
    ) -> Explored | None:
        """Log a ranking as shown; return what its answer says of exploration."""
        request, policy = ranking.request, draw.policy
        count = min(self._places, len(columns["item_ids"]), draw.pool_size)
        decision = Decision(
            request_id=ranking.request_id,
            time_ms=int(time.time() * 1000),
            user_id=request.user_id,
            model=ranking.model.label,
            tradeoff=draw.tradeoff,
            arm=None if ranking.arm is None else ranking.arm.name,
            policy=policy,
            pool="catalogue" if request.candidates is None else "candidates",
            pool_size=draw.pool_size,
            seed=draw.seed,
            slot=draw.slot,
            degraded=tuple(degraded),
            item_ids=columns["item_ids"][:count],
            scores=columns["scores"][:count],
            propensities=draw.propensities or self._certain[:count],
        )
        if draw.stands:  # most decisions need none of this
            tradeoffs, chances = zip(*draw.mixture, strict=True)
            decision = replace(decision, tradeoffs=tradeoffs, chances=chances, stands=draw.stands)
        if draw.slot is not None:
            decision = replace(decision, slot_places=draw.slot_places, **self._pool(request))
        self._log.add(decision)
        self._telemetry.decisions[policy].inc()
        if policy == "fixed":
            return None
        if draw.slot is None:
            return Explored(policy)
        for scores, score in zip(self._telemetry.slot_scores, draw.slot_scores, strict=True):
            scores.inc(score)
        return Explored(policy, draw.slot + 1)

    def _pool(self, request: RankRequest) -> dict[str, Any]:
        """Return what a decision holds of its pool."""
        listed = _listed(request)
        known = len(listed) <= self._most_listed
        return {"pool_known": known, "listed": tuple(listed) if known else ()}


def _listed(request: RankRequest) -> list[str]:
    """Return the ids that make the pool: the candidates, or what the catalogue leaves out."""
    if request.candidates is None:
        return request.exclude
    excluded = set(request.exclude)
    return [item_id for item_id in request.candidates if item_id not in excluded]


def repeatable(ranking: Ranking, columns: Columns) -> tuple[RankRequest, Columns]:
    """Return a request and its ranking as they are without exploration at the same tradeoff.

    A shadow ranking is compared with it; both models have a default of their own. The last item is
    lost where a lower one was drawn.
    """
    request, draw = ranking.request, ranking.draw
    if ranking.source != "default" or (draw is not None and draw.randomised):
        request = replace(request, tradeoff=ranking.tradeoff, target=None)
    if draw is not None and draw.slot is not None:
        columns = {name: list(columns[name]) for name in ("item_ids", "scores")}
        shown = draw.rank < len(columns["item_ids"])
        for values in columns.values():
            value = values.pop(draw.slot)
            if shown:
                values.insert(draw.rank, value)
    return request, columns

"""A log as the service and `collect` would have written it, of users whose clicks are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service.contract.feedback import Decision, Event, encode
from service.ranking.exploration import Draw, Exploration
from service.ranking.top_k import top_k
from tests.conftest import World
from tests.integration.training.feed.feed_log import NOW_MS
from training.feed.log_files import DECISIONS, EVENTS, LogFolder
from training.feed.records import Entry, tables
from training.release.ranking_again import RankingAgain

GRID = ((0.0, 0.2), (0.5, 0.3), (1.0, 0.5))
PLACES, POOL = 6, 12


@dataclass
class ServedLog:
    """Decisions of candidates, at drawn tradeoffs and with uniform slots, and their clicks.

    An item at place j, from 0, is clicked with probability (j + 1)^-.5 times the item's own.
    """

    world: World
    decisions: list[Decision] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    pools: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.ranking = RankingAgain(self.world.artifact, self.world.dataset)
        self.liking = self.rng.uniform(0.05, 0.9, len(self.world.dataset.item_ids))
        self.examination = (np.arange(PLACES) + 1.0) ** -0.5

    def serve(self, count: int, tradeoff: float | None = None) -> None:
        """Serve ``count`` requests, at a ``tradeoff`` that they name or at drawn ones."""
        exploration = Exploration(0.5, 4, 1.0, GRID, PLACES)
        ids, users = self.world.dataset.item_ids, self.world.dataset.user_ids[:50]
        for _ in range(count):
            number = len(self.decisions)
            user_id = users[number % len(users)]
            pool = np.sort(self.rng.choice(len(ids), POOL, replace=False))
            draw = exploration.draw(
                f"r{number}", 0.5 if tradeoff is None else tradeoff, moves=tradeoff is None
            )
            rows = self._show(draw, user_id, pool)
            clicked = self.rng.random(PLACES) < self.liking[rows] * self.examination
            drawn = draw.mixture if draw.stands else ()
            self.decisions.append(
                Decision(
                    request_id=f"r{number}",
                    time_ms=NOW_MS + number,
                    user_id=user_id,
                    model=self.world.artifact.label,
                    tradeoff=draw.tradeoff,
                    policy=draw.policy,
                    pool="candidates",
                    pool_size=POOL,
                    seed=draw.seed,
                    slot=draw.slot,
                    item_ids=[ids[row] for row in rows],
                    scores=[0.5] * PLACES,
                    propensities=draw.propensities or [1.0] * PLACES,
                    tradeoffs=tuple(w for w, _ in drawn),
                    chances=tuple(chance for _, chance in drawn),
                    stands=draw.stands,
                    slot_places=draw.slot_places,
                    listed=() if draw.slot is None else tuple(ids[row] for row in pool),
                    pool_known=draw.slot is not None,
                )
            )
            self.pools.append(pool)
            for row in rows[clicked]:
                event = Event(
                    request_id=f"r{number}", item_id=ids[row], kind="click", time_ms=NOW_MS + number
                )
                self.events += [event, event]  # equal events count once

    def _show(
        self, draw: Draw, user_id: str, pool: np.ndarray[tuple[int], np.dtype[np.int64]]
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        logits = np.stack(
            [self.ranking.scores(user_id, pool, w) for w in (draw.tradeoff, *draw.others)]
        ).astype(np.float32)
        names = [self.world.dataset.item_ids[row] for row in pool]
        draw.pool_size = POOL
        shown = draw.show(top_k(logits[0], names, PLACES), logits, names)
        return np.asarray(pool[shown])

    def write(self, folder: Path) -> None:
        """Write the files that `collect` writes."""
        log = LogFolder(folder)
        lines = {
            DECISIONS: [encode(decision) for decision in self.decisions],
            EVENTS: [encode(event) for event in self.events],
        }
        for table, records in lines.items():
            entries: list[Entry] = [
                ((NOW_MS + 1, number), record) for number, record in enumerate(records)
            ]
            rows, rejected = tables(table, entries)
            assert not len(rejected)
            log.write(table, 0, rows)

    def truth(self, tradeoff: float, places: int, numbers: Sequence[int]) -> float:
        """Return the clicks at the first places that a tradeoff gets in decisions, on average."""
        clicks = [
            self.liking[rows[:places]] @ self.examination[:places]
            for rows in self._ranked(tradeoff, numbers)
        ]
        return float(np.mean(clicks))

    def share(self, chosen: set[str], tradeoff: float, numbers: Sequence[int]) -> float:
        """Return the share of its places that a tradeoff gives to ``chosen`` items."""
        ids = self.world.dataset.item_ids
        return float(
            np.mean(
                [[ids[row] in chosen for row in rows] for rows in self._ranked(tradeoff, numbers)]
            )
        )

    def _ranked(
        self, tradeoff: float, numbers: Sequence[int]
    ) -> Iterator[np.ndarray[tuple[int], np.dtype[np.int64]]]:
        for number in numbers:
            pool = self.pools[number]
            scores = self.ranking.scores(self.decisions[number].user_id, pool, tradeoff)
            yield pool[np.lexsort((pool, -scores.astype(np.float32)))][:PLACES]

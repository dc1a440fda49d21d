"""From the folder of a log to what every policy would have come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from service.contract.artifact import Artifact
from service.contract.attributes import item_codings
from service.contract.measures import in_tail
from training.data.items import Items, open_items
from training.errors import ConfigError
from training.evaluation.off_policy.advice import Wish
from training.evaluation.off_policy.from_randomised import from_randomised, policy_name
from training.evaluation.off_policy.from_slots import FromSlots, RankedAgain, from_slots
from training.evaluation.off_policy.log import uniform_slots, with_slots
from training.evaluation.off_policy.schema import WhatIf
from training.feed.log_rows import Period
from training.feed.rankings import Outcome, Rankings, read_rankings
from training.feed.specification import Feed
from training.metrics.exposure import percentile_rank
from training.release.ranking_again import RankingAgain

_SAME = 0.95  # share of the pools that should be made again as they were


@dataclass(frozen=True)
class Policy:
    """A model at a tradeoff, to be ranked again."""

    artifact: Artifact
    tradeoff: float

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.artifact.label}, {policy_name(self.tradeoff)}"


@dataclass(frozen=True)
class Question:
    """What is asked of the log: of which model's decisions, and what is compared.

    ``served`` is the model of the decisions, ``name`` or ``name@version``. ``data`` is the dataset
    folder with which pools are ranked again.
    """

    artifact: Artifact
    served: str
    outcome: Outcome
    wish: Wish | None = None
    against: float | None = None
    places: int | None = None
    data: Path | None = None
    policies: tuple[Policy, ...] = ()


def answer(
    question: Question, feed: Feed, logs: Path, period: Period = (None, None), command: str = ""
) -> WhatIf:
    """Return the estimates; raises ConfigError where the log cannot have any."""
    artifact, default = question.artifact, question.artifact.manifest.default_tradeoff
    rankings = read_rankings(feed, logs, question.outcome, question.served, period)
    tail = _tail(artifact, rankings.rows)
    again = _RankingsAgain(question.data)
    drawn = from_randomised(
        rankings.rows,
        tail,
        model=question.served,
        metric=question.outcome.name,
        default=default,
        against=question.against,
        places=question.places,
        wish=question.wish,
        scores=None if question.data is None else again.of(artifact).best_scores,
    )
    slots, notes = None, list(() if drawn is None else drawn.notes)
    if question.policies:
        base = question.against
        if base is None:
            base = default if drawn is None else drawn.tradeoff
        policies = [Policy(artifact, base), *question.policies]
        slots, further = _from_slots(question, rankings, policies, again, tail)
        notes += further
    if drawn is None and slots is None:
        raise ConfigError(
            f"{logs}: no tradeoff was drawn for {question.served}: serve with "
            "RANK_EXPLORE_TRADEOFF_SHARE above 0, or name --policy and --data if there are uniform "
            "slots"
        )
    first = drawn or slots
    return WhatIf(
        model=question.served,
        metric=question.outcome.name,
        read=rankings.read,
        left_out=dict(rankings.left_out),
        against=drawn.against if drawn else policies[0].name,
        randomised=drawn.source if drawn else None,
        slots=slots.source if slots else None,
        policies=drawn.policies if drawn else (),
        ranked_again=slots.policies if slots else (),
        order=first.order if first else (),
        advice=first.advice if first else None,
        notes=tuple(notes),
        command=command,
    )


class _RankingsAgain:
    """The artifacts that rank again, each opened once with the items of one dataset folder."""

    def __init__(self, data: Path | None) -> None:
        self._data = data
        self._opened: dict[str, RankingAgain] = {}

    def of(self, artifact: Artifact) -> RankingAgain:
        """Return the ranking of an artifact."""
        if artifact.label not in self._opened:
            self._opened[artifact.label] = RankingAgain(artifact, self._items(artifact))
        return self._opened[artifact.label]

    def _items(self, artifact: Artifact) -> Items:
        if self._data is None:
            raise ConfigError("--policy: give --data, the dataset folder of the items to rank")
        return open_items(self._data, item_codings(artifact))


def _from_slots(
    question: Question,
    rankings: Rankings,
    policies: Sequence[Policy],
    again: _RankingsAgain,
    tail: dict[str, bool],
) -> tuple[FromSlots, list[str]]:
    """Return estimates of policies from uniform slots, and what is to be said of these."""
    slotted = rankings.rows.filter(pl.col("slot").is_not_null())
    pooled = with_slots(slotted)
    ours = again.of(question.artifact)
    slots = uniform_slots(pooled)
    held = ours.knows(slots.item_ids)
    left_out = Counter(
        {
            "without a uniform slot": len(rankings.rows) - len(slotted),
            "whose pool is not known": len(slotted) - len(pooled),
            "of items that --data lacks": int((~held).sum()),
        }
    )
    pooled = pooled.filter(pl.Series(held))
    if not len(pooled):
        raise ConfigError(
            f"--policy: of {len(rankings.rows):,} decisions none has a uniform slot with a known "
            "pool: serve with RANK_EXPLORE_SLOT_SHARE above 0, and look at RANK_DECISION_LISTED"
        )
    slots = uniform_slots(pooled)
    places = slots.shown.outcome.shape[1]
    made = [
        RankedAgain(
            policy.name,
            policy.artifact.label,
            policy.tradeoff,
            again.of(policy.artifact).place(pooled, slots.item_ids, policy.tradeoff, places),
        )
        for policy in policies
    ]
    same = float((ours.pool_sizes(pooled) == pooled["pool_size"].to_numpy()).mean())
    notes = []
    if same < _SAME:
        notes.append(
            f"{1 - same:.0%} of the pools have another size when they are made again: items came "
            "or went meanwhile; name the dataset folder of that time, or --since"
        )
    estimates = from_slots(
        slots,
        made,
        tail,
        metric=question.outcome.name,
        wish=question.wish,
        left_out=left_out,
    )
    return estimates, notes


def _tail(artifact: Artifact, rows: pl.DataFrame) -> dict[str, bool]:
    """Return which items are of the long tail, by the training clicks of the model.

    Without its bias reference, by the outcomes of the log.
    """
    if (reference := artifact.bias_reference()) is not None:
        flags = in_tail(reference.click_percentile)
        return dict(zip(reference.item_ids, flags.tolist(), strict=True))
    counts = (
        rows.select("item_ids", "outcomes")
        .explode("item_ids", "outcomes", empty_as_null=False)
        .group_by("item_ids")
        .agg(pl.col("outcomes").sum())
    )
    flags = in_tail(percentile_rank(counts["outcomes"].to_numpy()))
    return dict(zip(counts["item_ids"].to_list(), flags.tolist(), strict=True))

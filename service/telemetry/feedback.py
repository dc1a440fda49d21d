"""Metrics of what rankings showed, and of what comes back."""

from __future__ import annotations

import contextlib
from typing import get_args

from service.contract.feedback import CLICK, VIEW, Policy
from service.telemetry.metrics import Metrics

OTHER = "other"  # an event of a kind that is the product's own


class Feedback(Metrics):
    """What rankings showed, and what comes back."""

    def _exposure(self) -> None:
        labels = ("model", "tradeoff", "pool")
        self.exposure_rankings = self._counter(
            "rank_exposure_rankings_total",
            "Rankings, by tradeoff to the nearest tenth and by pool: catalogue or candidates.",
            *labels,
        )
        self.exposure_places = self._counter(
            "rank_exposure_places_total",
            "Places among the first 10 of each ranking, without missing items.",
            *labels,
        )
        self.exposure_cold = self._counter(
            "rank_exposure_cold_places_total",
            "Places of rank_exposure_places_total with a cold item.",
            *labels,
        )
        self.exposure_tail = self._counter(
            "rank_exposure_tail_places_total",
            "Places of rank_exposure_places_total with an item of the tail, the 80 % of items with "
            "the fewest training clicks.",
            *labels,
        )
        self.exposure_popularity = self._counter(
            "rank_exposure_popularity_percentiles_total",
            "Sum of the items' percentiles by training clicks over the places of "
            "rank_exposure_places_total. Divided by that: the mean percentile, 50 = the median "
            "item.",
            *labels,
        )
        self.exposure_window = self._gauge(
            "rank_exposure_window_places",
            "Places in the window of rank_exposure_gini and rank_exposure_score_drift: the last "
            "1,000 at most.",
            *labels,
        )
        self.exposure_gini = self._gauge(
            "rank_exposure_gini",
            "Gini coefficient of the places in the window over all items of the catalogue. A "
            "smaller window has a higher coefficient.",
            *labels,
        )
        self.exposure_drift = self._gauge(
            "rank_exposure_score_drift",
            "Population stability index of the scores in the window against the scores measured "
            "offline, for rankings of the whole catalogue. Above 0.25 is a large shift.",
            *labels,
        )

    def _targets(self) -> None:
        labels = ("model", "measure", "target")
        self.target_value = self._gauge(
            "rank_target",
            "A target that requests name, by measure: tail_share or popularity_percentile. One "
            "that no request has named for an hour is left out.",
            *labels,
        )
        self.target_shown = self._gauge(
            "rank_target_shown",
            "What the rankings of all replicas at a target show of its measure, on average since "
            "the last correction.",
            *labels,
        )
        self.target_correction = self._gauge(
            "rank_target_correction",
            "What is added to a target before the model's front is asked for its tradeoff, because "
            "traffic differs from the front's measurement.",
            *labels,
        )
        self._by_target = (self.target_value, self.target_shown, self.target_correction)

    def forget_target(self, *labels: str) -> None:
        """Remove the metrics of a target, given its model, measure and value."""
        for metric in self._by_target:
            with contextlib.suppress(KeyError):
                metric.remove(*labels)

    def _feedback(self) -> None:
        decisions = self._counter(
            "rank_decisions_total",
            "Rankings that are logged as decisions, by policy: fixed, uniform_slot, "
            "randomised_tradeoff, or both.",
            "policy",
        )
        self.decisions = {policy: decisions.labels(policy) for policy in get_args(Policy)}
        self.decisions_written = self._counter(
            "rank_decisions_written_total", "Decisions that the store has taken."
        )
        dropped = self._counter(
            "rank_decisions_dropped_total",
            "Decisions that were not written, by cause. full: they came faster than they could be "
            "written. store: the store did not answer, or refused them.",
            "cause",
        )
        self.decisions_dropped = {cause: dropped.labels(cause) for cause in ("full", "store")}
        scores = self._counter(
            "rank_slot_scores_total",
            "Sum of the scores of the items at uniform slots, by item: drawn, or displaced, which "
            "stood there before. Their difference, divided by the decisions with a uniform slot, "
            "is what one costs in score.",
            "item",
        )
        self.slot_scores = scores.labels("drawn"), scores.labels("displaced")
        self.arm_rankings = self._counter(
            "rank_arm_rankings_total",
            "Rankings of an arm's users, by experiment and arm: profiled requests that name no "
            "model.",
            "experiment",
            "arm",
        )
        self.arm_events = self._counter(
            "rank_arm_events_total",
            "Accepted events that name a user of an arm, by kind: view, click or other.",
            "experiment",
            "arm",
            "kind",
        )
        events = self._counter(
            "rank_events_total",
            "Events received, by result. accepted: they are in the stream. refused: they are not "
            "valid.",
            "result",
        )
        self.events = {result: events.labels(result) for result in ("accepted", "refused")}

    def start_arm(self, experiment: str, arm: str) -> None:
        """Let the counters of an arm begin at zero."""
        self.arm_rankings.labels(experiment, arm)
        for kind in (VIEW, CLICK, OTHER):
            self.arm_events.labels(experiment, arm, kind)

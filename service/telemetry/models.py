"""Metrics of loaded models and of candidates."""

from __future__ import annotations

from service.contract.front_metrics import monitored
from service.telemetry.metrics import STAGE_BUCKETS, Metrics

_AGREEMENT_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


class Models(Metrics):
    """Loaded models and candidates."""

    def _models(self) -> None:
        loads = self._counter(
            "rank_model_loads_total", "Attempts to load a model, by result: ok or failed.", "result"
        )
        self.model_loads = {result: loads.labels(result) for result in ("ok", "failed")}
        self.repository_faults = self._gauge(
            "rank_repository_faults",
            "Faults of the model repository at the last check: folders, alias files and loaded "
            "versions that are missing or cannot be read, and arms that cannot be served. Loaded "
            "models keep serving.",
        )
        self.model_created = self._gauge(
            "rank_model_created_timestamp_seconds",
            "Unix time at which training exported the model.",
            "model",
        )
        self.model_loaded = self._gauge(
            "rank_model_loaded_timestamp_seconds",
            "Unix time at which this replica loaded the model.",
            "model",
        )
        self.alias_version = self._gauge(
            "rank_model_alias_version", "Version that an alias names.", "name", "alias"
        )
        self.alias_wanted = self._gauge(
            "rank_model_alias_wanted_version",
            "Version that the model repository wants behind an alias.",
            "name",
            "alias",
        )
        self.converged = self._gauge(
            "rank_model_converged",
            "1 if the alias serves the version that it should: the wanted one, or the one before "
            "where that is returned. 0 while that version loads or does not load.",
            "name",
            "alias",
        )
        self.returned = self._gauge(
            "rank_model_returned",
            "1 if the version that the repository wants has passed a limit of the automatic "
            "return: a champion went back to the version before, a canary ended.",
            "name",
            "alias",
        )
        self.by_alias = (self.alias_version, self.alias_wanted, self.converged, self.returned)
        self.front = self._gauge(
            "rank_model_front",
            "The front of the model as measured offline, by measure: "
            f"{', '.join(measure for measure, _, _ in monitored())}. Its exposure_gini is that of "
            "1,000 places, as in rank_exposure_gini.",
            "model",
            "tradeoff",
            "measure",
        )

    def _rollouts(self) -> None:
        self.canary_rankings = self._counter(
            "rank_canary_rankings_total",
            "Rankings for users of a canary, which the candidate served.",
            "model",
        )
        self.shadow_agreement = self._histogram(
            "rank_shadow_agreement",
            "Rank-biased overlap of the first 10 places of a candidate's shadow ranking and of the "
            "ranking that was served; 1: they are equal.",
            "model",
            buckets=_AGREEMENT_BUCKETS,
        )
        self.shadow_drift = self._gauge(
            "rank_shadow_score_drift",
            "Population stability index of the candidate's scores against the scores that were "
            "served, in the first 10 places of the same requests, over the last 1,000 places.",
            "model",
        )
        self.shadow_seconds = self._histogram(
            "rank_shadow_score_seconds",
            "Time of the stage score of the same request, by ranking: served, or the candidate's "
            "shadow.",
            "model",
            "ranking",
            buckets=STAGE_BUCKETS,
        )
        self.shadow_failed = self._counter(
            "rank_shadow_failed_total",
            "Shadow rankings that raised an error; callers do not notice them.",
            "model",
        )
        dropped = self._counter(
            "rank_shadow_dropped_total",
            "Shadow rankings left out, by cause. full: too many wait. busy: the event loop runs "
            "late. store: the store did not answer one of both rankings. moved: the candidate or "
            "the champion has changed since.",
            "cause",
        )
        self.shadow_dropped = {c: dropped.labels(c) for c in ("full", "busy", "store", "moved")}

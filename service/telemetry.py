"""Every metric of the service, in one place; the values of every label are bounded.

``docs/reference/metrics.md`` is generated from here by ``docs/tools/reference.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.contract.feedback import Policy
from service.contract.front_metrics import monitored

_REQUEST_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)
_STAGE_BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
_AGREEMENT_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_LAG_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 300.0)

STAGES = ("user", "catalog", "score", "select")
OPERATIONS = (
    "users", "items", "titles", "catalog", "changes", "ping", "verdicts", "histories", "decisions",
    "events", "live", "erase",
)  # fmt: skip
SHED = ("rankings", "scans", "inferences", "events", "live", "users", "items")
LIVE = ("items", "removed", "proxies", "users")
STATUSES = (200, 401, 403, 404, 408, 413, 422, 429, 499, 500, 503)


@dataclass(frozen=True)
class MetricDoc:
    """One metric, as documented in ``docs/reference/metrics.md``."""

    name: str
    kind: str
    labels: tuple[str, ...]
    description: str


_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class Telemetry:
    """The service's Prometheus metrics, in a registry of their own.

    Metrics whose labels are known in advance start at zero, because a rate needs a sample from
    before the first event.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.docs: list[MetricDoc] = []
        self._by_model: list[Counter | Gauge | Histogram] = []
        self._requests()
        self._connections()
        self._access()
        self._rankings()
        self._store()
        self._catalog()
        self._models()
        self._rollouts()
        self._exposure()
        self._feedback()
        self._live()

    def _requests(self) -> None:
        self.requests = self._histogram(
            "rank_http_request_seconds",
            "Time from reading the first byte of a request to writing the last byte of its "
            "response. Bytes that wait in the kernel are not read yet: see "
            "rank_event_loop_lag_seconds. Status 499: the client left before its answer.",
            "route",
            "status",
            buckets=_REQUEST_BUCKETS,
        )
        self._request = {("/rank", s): self.requests.labels("/rank", s) for s in STATUSES}
        self.in_flight = self._gauge(
            "rank_http_requests_in_flight", "Requests that have begun and are not answered yet."
        )
        self.loop_lag = self._histogram(
            "rank_event_loop_lag_seconds",
            "Time by which the event loop runs late, for each tenth of a second. Requests wait as "
            "long in the kernel before the service reads them.",
            buckets=_REQUEST_BUCKETS,
        )
        shed = self._counter(
            "rank_shed_total",
            "Requests turned away by a full queue. rankings: any rankings, answered with 503. "
            "scans: full scans, answered with 503. inferences: runs of raw models, answered with "
            "503. events: requests with events, answered with 503. live: live changes, answered "
            "with 503. users: reads of user records; these rankings are made without the record. "
            "items: reads of items that are not in memory; these rankings are made without those "
            "not read.",
            "queue",
        )
        self.shed = {queue: shed.labels(queue) for queue in SHED}

    def _connections(self) -> None:
        self.connections = self._gauge("rank_connections", "Open connections.")
        beyond = self._counter(
            "rank_connections_beyond_limit_total",
            "New connections beyond RANK_MAX_CONNECTIONS, by result. closed: the connection that "
            "was idle the longest was closed for it. refused: none was idle, so it got 503.",
            "result",
        )
        self.beyond_limit = {result: beyond.labels(result) for result in ("closed", "refused")}

    def _access(self) -> None:
        self.access = self._counter(
            "rank_access_total",
            "Requests that need a key, by the key's name and by result: admitted, no_key, "
            "unknown_key, expired, no_scope, or rate, beyond the key's rate. Without a known key, "
            "the name is empty. A key that has not been admitted for long can be removed.",
            "key",
            "result",
        )
        for result in ("no_key", "unknown_key"):
            self.access.labels("", result)
        self.key_expires = self._gauge(
            "rank_key_expires_timestamp_seconds",
            "Unix time at which a key of the keys file expires; infinite for a key without end.",
            "key",
        )
        self.keys_file_fault = self._gauge(
            "rank_keys_file_fault",
            "1 while the keys file cannot be read; the keys before stay valid. Otherwise 0.",
        )
        self.rates_counted_alone = self._counter(
            "rank_rates_counted_alone_total",
            "Requests of keys with a rate that this replica counted alone although the rates are "
            "shared, because the store did not answer.",
        )

    def _rankings(self) -> None:
        stages = self._histogram(
            "rank_stage_seconds",
            "Time of one stage of a ranking: user, catalog, score or select.",
            "stage",
            buckets=_STAGE_BUCKETS,
        )
        self.stage = {stage: stages.labels(stage) for stage in STAGES}
        self.cold_users = self._counter(
            "rank_cold_users_total",
            "Rankings without the user's record, by the source of the user vector: history (the "
            "request's and the stored one), or the average user.",
            "source",
        )
        for source in ("history", "average"):
            self.cold_users.labels(source)
        self.moved_users = self._counter(
            "rank_moved_users_total",
            "Rankings whose user vector a stored history moved since the model's training.",
        )
        self.missing_items = self._counter(
            "rank_missing_items_total", "Candidates without a record."
        )
        self.degraded = self._counter(
            "rank_degraded_total", "Degraded rankings, by reason.", "reason"
        )

    def _store(self) -> None:
        seconds = self._histogram(
            "rank_store_seconds",
            "Time of one read or write of the store, failed ones included. A read of the change "
            "streams waits up to a second for a change. live: a live change of items, with its "
            "reads and tries. erase: the deletion of a user.",
            "operation",
            buckets=_STAGE_BUCKETS,
        )
        self.store_seconds = {name: seconds.labels(name) for name in OPERATIONS}
        read = self._counter(
            "rank_store_read_bytes_total", "Bytes of the records read from the store.", "operation"
        )
        self.store_bytes = {name: read.labels(name) for name in ("users", "items", "titles")}
        self.breaker_state = self._gauge(
            "rank_store_breaker_state",
            "State of the breaker. 0, closed: reads go through. 1, half open: one read probes the "
            "store. 2, open: reads fail at once.",
        )
        self.breaker_opened = self._counter(
            "rank_store_breaker_opened_total",
            "Times that the breaker opened because the store did not answer.",
        )
        self.corrupt_records = self._counter(
            "rank_corrupt_records_total",
            "Corrupt records read from the store, by record: user, history, item or proxy.",
            "record",
        )
        for record in ("user", "history", "item", "proxy"):
            self.corrupt_records.labels(record)

    def _catalog(self) -> None:
        self.catalog_items = self._gauge(
            "rank_catalog_items", "Items of the catalogue in memory.", "model"
        )
        self.catalog_bytes = self._gauge(
            "rank_catalog_bytes",
            "Bytes of the catalogue in memory. Divided by rank_catalog_items: bytes an item.",
            "model",
        )
        self.catalog_lost = self._gauge(
            "rank_catalog_lost_items",
            "Items that the store has lost: listed without a valid record, or in memory and no "
            "longer listed although nothing removed them. Rankings use their states in memory.",
            "model",
        )
        self.catalog_lookups = self._counter(
            "rank_catalog_lookups_total", "Items named by requests.", "model"
        )
        self.catalog_misses = self._counter(
            "rank_catalog_misses_total",
            "Items named by requests that were not in memory and had to be read from the store. "
            "Divided by rank_catalog_lookups_total: the miss rate.",
            "model",
        )
        self.catalog_changes = self._counter(
            "rank_catalog_changes_total",
            "Items read again, by cause. change: the change stream named them. gap: changes were "
            "lost, so the whole catalogue was read.",
            "model",
            "cause",
        )
        self.catalog_lag = self._histogram(
            "rank_catalog_lag_seconds",
            "Time from the announcement of a change, by the store's clock, to its use in rankings.",
            "model",
            buckets=_LAG_BUCKETS,
        )
        self.catalog_followed = self._gauge(
            "rank_catalog_followed_timestamp_seconds",
            "Unix time at which the catalogue last held all announced changes.",
            "model",
        )

        self.catalog_followers = self._gauge(
            "rank_catalog_followers",
            "Tasks that follow the changes of a catalogue: one a loaded model, and for a moment "
            "one of each dropped model.",
        )

    def _live(self) -> None:
        changes = self._counter(
            "rank_live_changes_total",
            "Live changes that this replica wrote, by kind. items: items put. removed: items "
            "removed. proxies: items whose proxies were changed, those of put items included. "
            "users: users deleted.",
            "kind",
        )
        self.live_changes = {kind: changes.labels(kind) for kind in LIVE}
        self.live_conflicts = self._counter(
            "rank_live_conflicts_total",
            "Live changes that were tried again because others changed the same records.",
        )

    def _models(self) -> None:
        loads = self._counter(
            "rank_model_loads_total", "Attempts to load a model, by result: ok or failed.", "result"
        )
        self.model_loads = {result: loads.labels(result) for result in ("ok", "failed")}
        self.repository_faults = self._gauge(
            "rank_repository_faults",
            "Faults of the model repository at the last check: folders, alias files and loaded "
            "versions that are missing or cannot be read. Loaded models keep serving.",
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
            buckets=_STAGE_BUCKETS,
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
        events = self._counter(
            "rank_events_total",
            "Events received, by result. accepted: they are in the stream. refused: they are not "
            "valid.",
            "result",
        )
        self.events = {result: events.labels(result) for result in ("accepted", "refused")}

    def request(self, route: str, status: int) -> Histogram:
        """Return ``requests`` of a route and a status; labels are resolved once."""
        key = (route, status)
        if (child := self._request.get(key)) is None:
            child = self._request[key] = self.requests.labels(route, status)
        return child

    def forget_model(self, label: str) -> None:
        """Remove all metrics of a model that is no longer loaded."""
        for metric in self._by_model:
            metric.remove_by_labels({"model": label})

    def forget_key(self, name: str) -> None:
        """Remove all metrics of a key that is no longer in the keys file."""
        for metric in (self.access, self.key_expires):
            metric.remove_by_labels({"key": name})

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        metric = Counter(name, description, labels, registry=self.registry)
        return self._document(metric, MetricDoc(name, "counter", labels, description))

    def _gauge(self, name: str, description: str, *labels: str) -> Gauge:
        metric = Gauge(name, description, labels, registry=self.registry)
        return self._document(metric, MetricDoc(name, "gauge", labels, description))

    def _histogram(
        self, name: str, description: str, *labels: str, buckets: tuple[float, ...]
    ) -> Histogram:
        metric = Histogram(name, description, labels, buckets=buckets, registry=self.registry)
        return self._document(metric, MetricDoc(name, "histogram", labels, description))

    def _document(self, metric: _Metric, doc: MetricDoc) -> _Metric:
        self.docs.append(doc)
        if "model" in doc.labels:
            self._by_model.append(metric)
        return metric

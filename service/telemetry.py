"""Every metric name, in one place; every label is bounded.

``docs/reference/metrics.md`` is generated from here by ``docs/tools/reference.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_REQUEST_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)
_STAGE_BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
_LAG_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 300.0)

STAGES = ("user", "catalog", "score", "select")
OPERATIONS = ("users", "items", "catalog", "changes", "ping")
STATUSES = (200, 404, 413, 422, 499, 500, 503)


@dataclass(frozen=True)
class Described:
    """One metric as it is documented."""

    name: str
    kind: str
    labels: tuple[str, ...]
    tells: str


_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class Telemetry:
    """The service's Prometheus metrics, with a registry of their own.

    What has known labels is made with them, at zero: a rate needs a sample before the first event.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.all: list[Described] = []
        self._of_models: list[Counter | Gauge | Histogram] = []
        self._requests()
        self._rankings()
        self._store()
        self._catalog()
        self._models()
        self._exposure()

    def _requests(self) -> None:
        self.requests = self._histogram(
            "rank_http_request_seconds",
            "Time from a request's first byte to its response's last.",
            "route",
            "status",
            buckets=_REQUEST_BUCKETS,
        )
        self._request = {("/rank", s): self.requests.labels("/rank", s) for s in STATUSES}
        self.in_flight = self._gauge(
            "rank_http_requests_in_flight", "Requests begun and not yet answered."
        )
        shed = self._counter(
            "rank_shed_total",
            "Requests turned away because too many waited: for a scan of the whole catalogue "
            "(answered 503), or for their user's record (ranked without).",
            "queue",
        )
        self.shed = {queue: shed.labels(queue) for queue in ("scans", "users")}

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
            "Rankings for a user without a record, by what was used instead.",
            "source",
        )
        for source in ("history", "average"):
            self.cold_users.labels(source)
        self.missing_items = self._counter(
            "rank_missing_items_total", "Candidates without a record."
        )
        self.degraded = self._counter(
            "rank_degraded_total", "Rankings that said they were degraded, by reason.", "reason"
        )

    def _store(self) -> None:
        seconds = self._histogram(
            "rank_store_seconds",
            "Time of one wait for the store, failed ones included; their count is that of the "
            "round trips. Reads of changes block for up to a second where there are none.",
            "operation",
            buckets=_STAGE_BUCKETS,
        )
        self.store_seconds = {name: seconds.labels(name) for name in OPERATIONS}
        read = self._counter("rank_store_read_bytes_total", "Bytes of records read.", "operation")
        self.store_bytes = {name: read.labels(name) for name in ("users", "items")}
        self.breaker_state = self._gauge(
            "rank_store_breaker_state",
            "0: the store is asked. 1: one read probes whether it answers again. 2: it did not "
            "answer several times in a row and is not asked.",
        )
        self.breaker_opened = self._counter(
            "rank_store_breaker_opened_total", "Times that the store was found not to answer."
        )
        self.corrupt_records = self._counter(
            "rank_corrupt_records_total",
            "Records that the store held and the service refused.",
            "record",
        )
        for record in ("user", "item", "proxy"):
            self.corrupt_records.labels(record)

    def _catalog(self) -> None:
        self.catalog_items = self._gauge("rank_catalog_items", "Items held in memory.", "model")
        self.catalog_bytes = self._gauge(
            "rank_catalog_bytes",
            "Memory of the items held: over rank_catalog_items, the memory of one.",
            "model",
        )
        self.catalog_lookups = self._counter(
            "rank_catalog_lookups_total", "Items that requests named.", "model"
        )
        self.catalog_misses = self._counter(
            "rank_catalog_misses_total",
            "Items that requests named and that had to be asked of the store: over "
            "rank_catalog_lookups_total, one less the hit rate.",
            "model",
        )
        self.catalog_changes = self._counter(
            "rank_catalog_changes_total",
            "Items re-read because the change stream named them, or after a gap in it.",
            "model",
            "cause",
        )
        self.catalog_lag = self._histogram(
            "rank_catalog_lag_seconds",
            "Time from a change's announcement, by the store's clock, to the changed item in use.",
            "model",
            buckets=_LAG_BUCKETS,
        )
        self.catalog_followed = self._gauge(
            "rank_catalog_followed_timestamp_seconds",
            "When the catalogue was last known to hold all announced changes.",
            "model",
        )

    def _models(self) -> None:
        loads = self._counter(
            "rank_model_loads_total", "Attempts to load a model, by result.", "result"
        )
        self.model_loads = {result: loads.labels(result) for result in ("ok", "failed")}
        self.model_created = self._gauge(
            "rank_model_created_timestamp_seconds", "When a loaded model was exported.", "model"
        )
        self.model_loaded = self._gauge(
            "rank_model_loaded_timestamp_seconds", "When a model began to serve here.", "model"
        )
        self.alias_version = self._gauge(
            "rank_model_alias_version", "The version that an alias stands for.", "name", "alias"
        )
        self.front = self._gauge(
            "rank_model_front",
            "What was measured at a tradeoff before the model was published: logged_auc, "
            "unbiased_auc, popularity_percentile, tail_share, and exposure_gini of as many places "
            "as rank_exposure_gini looks at.",
            "model",
            "tradeoff",
            "measure",
        )

    def _exposure(self) -> None:
        labels = ("model", "tradeoff", "pool")
        self.exposure_rankings = self._counter(
            "rank_exposure_rankings_total",
            "Rankings by tradeoff, to the nearest tenth, of the whole catalogue or of candidates.",
            *labels,
        )
        self.exposure_places = self._counter(
            "rank_exposure_places_total",
            "Places up to the tenth of each ranking, missing items left out.",
            *labels,
        )
        self.exposure_cold = self._counter(
            "rank_exposure_cold_places_total", "Such places that went to cold items.", *labels
        )
        self.exposure_tail = self._counter(
            "rank_exposure_tail_places_total",
            "Such places that went to the 80 % of items with the fewest training clicks.",
            *labels,
        )
        self.exposure_popularity = self._counter(
            "rank_exposure_popularity_percentiles_total",
            "Sum over such places of the items' percentile by training clicks: over "
            "rank_exposure_places_total, the average popularity, 50 = the median item.",
            *labels,
        )
        self.exposure_window = self._gauge(
            "rank_exposure_window_places",
            "Places that the two metrics below look at: the last ones, 1,000 at most.",
            *labels,
        )
        self.exposure_gini = self._gauge(
            "rank_exposure_gini",
            "Gini coefficient of the last 1,000 places over all items of the catalogue; greater "
            "while there are fewer.",
            *labels,
        )
        self.exposure_drift = self._gauge(
            "rank_exposure_score_drift",
            "Population stability index of the last 1,000 scores of whole-catalogue rankings "
            "against those measured before the model was published; above 0.25 is a shift.",
            *labels,
        )

    def request(self, route: str, status: int) -> Histogram:
        """Return ``requests`` of a route and a status; labels are resolved once."""
        key = (route, status)
        if (child := self._request.get(key)) is None:
            child = self._request[key] = self.requests.labels(route, status)
        return child

    def forget_model(self, label: str) -> None:
        """Show no more of a model that was dropped."""
        for metric in self._of_models:
            metric.remove_by_labels({"model": label})

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        self.all.append(Described(name, "counter", labels, help_text))
        return self._noted(Counter(name, help_text, labels, registry=self.registry), labels)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        self.all.append(Described(name, "gauge", labels, help_text))
        return self._noted(Gauge(name, help_text, labels, registry=self.registry), labels)

    def _histogram(
        self, name: str, help_text: str, *labels: str, buckets: tuple[float, ...]
    ) -> Histogram:
        self.all.append(Described(name, "histogram", labels, help_text))
        metric = Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)
        return self._noted(metric, labels)

    def _noted(self, metric: _Metric, labels: tuple[str, ...]) -> _Metric:
        if "model" in labels:
            self._of_models.append(metric)
        return metric

"""A registry of metrics that documents each of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.samples import Sample

STAGE_BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


@dataclass(frozen=True)
class MetricDoc:
    """One metric, as documented in ``docs/reference/metrics.md``."""

    name: str
    kind: str
    labels: tuple[str, ...]
    description: str


class Histogram(prometheus_client.Histogram):
    """A histogram with plain numbers in place of locked ones: the event loop alone observes.

    A ranking makes some six observations, which would cost three times as much.
    """

    def _metric_init(self) -> None:
        super()._metric_init()
        self._counts = [0] * len(self._upper_bounds)
        self._total = 0.0

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:  # noqa: ARG002  # the library's
        """Count ``amount``, which is not NaN; exemplars are not kept."""
        self._counts[bisect_left(self._upper_bounds, amount)] += 1
        self._total += amount

    def _child_samples(self) -> Iterable[Sample]:
        self._sum.set(self._total)
        for bucket, count in zip(self._buckets, self._counts, strict=True):
            bucket.set(count)
        return super()._child_samples()


_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class Metrics:
    """Metrics in a registry of their own. Subclasses add those of a subject."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.docs: list[MetricDoc] = []
        self._by_model: list[Counter | Gauge | Histogram] = []

    def forget_model(self, label: str) -> None:
        """Remove all metrics of a model that is no longer loaded."""
        for metric in self._by_model:
            metric.remove_by_labels({"model": label})

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

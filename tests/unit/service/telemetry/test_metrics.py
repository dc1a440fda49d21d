"""``Histogram`` against prometheus_client's own."""

from __future__ import annotations

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service.telemetry.metrics import Histogram

_BUCKETS = (0.1, 0.2, 0.5)


def _exposed(kind: type[prometheus_client.Histogram]) -> str:
    registry = CollectorRegistry()
    seconds = kind("t_seconds", "A time.", ["a"], buckets=_BUCKETS, registry=registry)
    alone = kind("u_seconds", "Another.", buckets=_BUCKETS, registry=registry)
    for amount in (0.0, 0.1, 0.100001, 0.2, 0.5, 0.7, -1.0, 1e9):
        seconds.labels("x").observe(amount)
        alone.observe(amount)
        generate_latest(registry)  # a look in between changes nothing
    seconds.labels("y")
    seconds.labels("z").observe(1)
    seconds.remove_by_labels({"a": "z"})
    lines = generate_latest(registry).decode().splitlines()
    return "\n".join(line for line in lines if "_created" not in line)


def test_it_exposes_what_the_librarys_histogram_does() -> None:
    text = _exposed(Histogram)
    assert text == _exposed(prometheus_client.Histogram)
    assert 't_seconds_bucket{a="x",le="0.2"} 5.0' in text
    assert 't_seconds_count{a="y"} 0.0' in text


def test_a_histogram_with_labels_observes_only_with_them() -> None:
    seconds = Histogram("t_seconds", "A time.", ["a"], registry=None)
    with pytest.raises(AttributeError):
        seconds.observe(1.0)

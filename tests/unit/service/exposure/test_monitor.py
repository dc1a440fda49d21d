"""The exposure monitor against values by hand, and against the offline metrics."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contract.artifact import Artifact, BiasReference
from service.contract.manifest import Manifest
from service.contract.measures import stability_index
from service.exposure.monitor import ExposureMonitor
from service.telemetry import Telemetry
from training.metrics.exposure import percentile_rank, shown_metrics

IDS = [f"i{n}" for n in range(10)]
MODEL = "demo@1"
REFERENCE = BiasReference(
    item_ids=IDS,
    click_percentile=np.arange(5, 105, 10, dtype=np.float32),  # i0: 5, ..., i9: 95
    tradeoffs=np.array([0, 1], np.float32),
    score_deciles=np.stack([np.arange(1, 10) / 10, np.arange(1, 10) / 20]).astype("f4"),
    exposure_gini=np.array([0.2, 0.6], np.float32),
)


@dataclass(frozen=True)
class _Artifact(Artifact):
    """An artifact in memory, as far as the monitor reads it."""

    reference: BiasReference | None = REFERENCE

    def bias_reference(self) -> BiasReference | None:
        return self.reference


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def artifact(document: dict[str, Any]) -> _Artifact:
    return _Artifact(Path("models/demo/1"), Manifest.model_validate(document))


def _columns(ids: list[str], scores: list[float | None], status: list[str]) -> dict[str, Any]:
    return {"item_ids": ids, "scores": scores, "status": status}


def _value(telemetry: Telemetry, name: str, tradeoff: str, pool: str = "catalogue") -> float | None:
    labels = {"model": MODEL, "tradeoff": tradeoff, "pool": pool}
    return telemetry.registry.get_sample_value(f"rank_exposure_{name}", labels)


def test_places_are_counted_by_tradeoff_and_pool(artifact: _Artifact, telemetry: Telemetry) -> None:
    monitor = ExposureMonitor(artifact, telemetry)
    assert _value(telemetry, "places_total", "0.0") == 0  # rates begin at zero
    monitor.add(0.04, True, _columns(["i9", "i0", "x"], [0.9, 0.5, 0.4], ["ok", "cold", "cold"]))
    monitor.add(0.0, True, _columns(["i8", "gone"], [0.3, None], ["ok", "missing"]))
    monitor.add(0.96, False, _columns(["i7"], [0.3], ["ok"]))
    monitor.report(10)
    assert _value(telemetry, "rankings_total", "0.0") == 2
    assert _value(telemetry, "places_total", "0.0") == 4
    assert _value(telemetry, "cold_places_total", "0.0") == 2
    assert _value(telemetry, "popularity_percentiles_total", "0.0") == 95 + 5 + 0 + 85
    assert _value(telemetry, "tail_places_total", "0.0") == 2  # i0, and x without clicks
    assert _value(telemetry, "window_places", "0.0") == 4
    assert _value(telemetry, "rankings_total", "1.0", "candidates") == 1
    assert _value(telemetry, "tail_places_total", "1.0", "candidates") == 1  # i7: 75
    assert _value(telemetry, "rankings_total", "1.0") == 0


def test_places_behind_the_tenth_do_not_count(artifact: _Artifact, telemetry: Telemetry) -> None:
    monitor = ExposureMonitor(artifact, telemetry)
    monitor.add(0.5, True, _columns(IDS + ["i0"] * 5, [0.5] * 15, ["ok"] * 15))
    monitor.report(10)
    assert _value(telemetry, "places_total", "0.5") == 10
    assert _value(telemetry, "gini", "0.5") == pytest.approx(0)


def test_only_the_last_thousand_places_make_the_gini(
    artifact: _Artifact, telemetry: Telemetry
) -> None:
    monitor = ExposureMonitor(artifact, telemetry)
    for _ in range(100):
        monitor.add(0.5, True, _columns(["i0"] * 10, [0.5] * 10, ["ok"] * 10))
    monitor.report(10)
    assert _value(telemetry, "gini", "0.5") == pytest.approx(0.9)
    for _ in range(100):
        monitor.add(0.5, True, _columns(IDS, [0.5] * 10, ["ok"] * 10))
    monitor.report(10)
    assert _value(telemetry, "gini", "0.5") == pytest.approx(0)
    assert _value(telemetry, "window_places", "0.5") == 1000
    assert _value(telemetry, "places_total", "0.5") == 2000


def test_scores_are_compared_with_the_reference_at_their_tradeoff(
    artifact: _Artifact, telemetry: Telemetry
) -> None:
    monitor = ExposureMonitor(artifact, telemetry)
    uniform = np.random.default_rng(0).random(1000)
    for start in range(0, 1000, 10):
        scores = uniform[start : start + 10]
        monitor.add(0.0, True, _columns(IDS, scores.tolist(), ["ok"] * 10))
        monitor.add(1.0, True, _columns(IDS, scores.tolist(), ["ok"] * 10))
        monitor.add(0.0, False, _columns(IDS, scores.tolist(), ["ok"] * 10))
    monitor.report(10)
    drift = _value(telemetry, "score_drift", "0.0")
    assert drift is not None
    assert drift < 0.03
    other = _value(telemetry, "score_drift", "1.0")  # at 1 scores were half of these
    assert other is not None
    assert other > 0.5
    assert _value(telemetry, "score_drift", "0.0", "candidates") is None


def test_rankings_are_counted_before_the_next_report(
    artifact: _Artifact, telemetry: Telemetry
) -> None:
    monitor = ExposureMonitor(artifact, telemetry)
    for _ in range(1000):
        monitor.add(0.5, True, _columns(IDS, [0.5] * 10, ["ok"] * 10))
    places = _value(telemetry, "places_total", "0.5")
    assert places is not None
    assert places > 10 * (1000 - 256)


def test_without_a_reference_only_popularity_is_not_counted(
    artifact: _Artifact, telemetry: Telemetry
) -> None:
    monitor = ExposureMonitor(dataclasses.replace(artifact, reference=None), telemetry)
    monitor.add(0.5, True, _columns(IDS, [0.5] * 10, ["ok"] * 10))
    monitor.report(20)
    assert _value(telemetry, "places_total", "0.5") == 10
    assert _value(telemetry, "gini", "0.5") == pytest.approx(0.5)
    assert _value(telemetry, "tail_places_total", "0.5") is None


def test_the_measured_front_is_exposed_until_the_model_is_forgotten(
    artifact: _Artifact, telemetry: Telemetry
) -> None:
    ExposureMonitor(artifact, telemetry)
    front = {"model": MODEL, "tradeoff": "0.5", "measure": "exposure_gini"}
    gini = telemetry.registry.get_sample_value("rank_model_front", front)
    assert gini == pytest.approx(0.4)
    auc = {**front, "measure": "logged_auc"}
    assert telemetry.registry.get_sample_value("rank_model_front", auc) == pytest.approx(0.6)
    tail = {**front, "measure": "tail_share"}  # not in this front
    assert telemetry.registry.get_sample_value("rank_model_front", tail) is None
    telemetry.forget_model(MODEL)
    assert MODEL not in telemetry.exposition().decode()


def test_equal_lists_have_equal_figures_in_service_and_offline(
    artifact: _Artifact, telemetry: Telemetry
) -> None:
    rng = np.random.default_rng(1)
    clicks = np.array([7.0, 0.0, 3.0, 3.0, 40.0, 1.0, 9.0, 12.0, 5.0, 2.0])
    lists = np.stack([rng.choice(10, 5, replace=False, p=(clicks + 1) / 92) for _ in range(100)])
    reference = dataclasses.replace(
        REFERENCE, click_percentile=percentile_rank(clicks).astype(np.float32)
    )
    monitor = ExposureMonitor(dataclasses.replace(artifact, reference=reference), telemetry)
    for shown in lists:
        monitor.add(0.5, True, _columns([IDS[n] for n in shown], [0.5] * 5, ["ok"] * 5))
    monitor.report(10)

    offline = shown_metrics(lists, clicks, clicks)

    assert _value(telemetry, "gini", "0.5") == offline["exposure_gini"].mean
    places = _value(telemetry, "places_total", "0.5")
    tail = _value(telemetry, "tail_places_total", "0.5")
    percentiles = _value(telemetry, "popularity_percentiles_total", "0.5")
    assert places == 500
    assert tail is not None
    assert percentiles is not None
    assert 0 < tail < places
    assert tail / places == pytest.approx(offline["tail_share"].mean)
    assert percentiles / places == pytest.approx(offline["popularity_percentile"].mean)


def test_stability_index_by_hand() -> None:
    deciles = np.arange(1, 10) / 10
    even = np.arange(10) / 10 + 0.05
    assert stability_index(np.repeat(even, 100), deciles) == pytest.approx(0)
    # All of 95 in the first bin: shares .955 and nine times .005.
    expected = (0.955 - 0.1) * np.log(9.55) + 9 * (0.005 - 0.1) * np.log(0.05)
    assert stability_index(np.full(95, 0.01), deciles) == pytest.approx(expected)

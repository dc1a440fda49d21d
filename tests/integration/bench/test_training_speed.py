"""The benchmark of training speed can load what it measures."""

from __future__ import annotations

from tests.bench.training_speed.config import bench_config


def test_measures_a_dcn_without_debiasing() -> None:
    config, options = bench_config()

    assert config.net.architecture == "dcn"
    assert options.debias == "none"

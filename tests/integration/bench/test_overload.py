"""The flood of the overload benchmark counts every answer, and recovery is read from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from service.settings import Settings
from tests.bench.hotpath.load import poisson, wire
from tests.bench.overload.__main__ import recovery_s
from tests.bench.overload.flood import Answers, probed
from tests.integration.conftest import running


def test_every_request_of_a_flood_is_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    phases = [poisson(1000.0, 0.1, rng), poisson(3000.0, 0.1, rng)]
    with running(Settings(models_dir=tmp_path)) as service:
        port = service.client.base_url.port
        assert port is not None
        requests = [wire("/rank", b'{"user_id": "u"}'), wire("/rank", b"{")]
        answers, worst = probed(port, requests, phases, connections=8)
    assert len(answers.status) == 400
    assert set(answers.status.tolist()) <= {422, 503}
    assert (answers.latency_ms > 0).all()
    assert (np.diff(answers.intended_s) >= 0).all()
    assert len(answers.between(0.0, phases[0][-1]).status) == 99  # of which one ends the phase
    assert min(worst.values()) > 0


def test_recovery_is_the_first_second_with_a_usual_p99() -> None:
    intended_s = np.arange(0.0, 20.0, 0.01)
    slow = (intended_s >= 5.0) & (intended_s < 12.0)  # the flood ends at 10
    latency_ms = np.where(slow, 50.0, 10.0)
    zeros = np.zeros(len(intended_s))
    answers = Answers(intended_s, zeros, np.full(len(intended_s), 200), latency_ms)
    assert recovery_s(answers, 5.0, 10.0) == 2.0

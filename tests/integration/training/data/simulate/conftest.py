"""Feeds that several tests measure, each simulated once."""

from __future__ import annotations

import pytest

from tests.integration.training.data.simulate.feed import IMPRESSIONS, Feed, load
from training.data.simulate.simulate import simulate


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Feed:
    """200 users of the toy world, with the plot."""
    folder = tmp_path_factory.mktemp("simulate") / "toy"
    simulate(folder, seed=3, impressions=IMPRESSIONS)
    return load(folder)


@pytest.fixture(scope="session")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Feed:
    """The world of ``toy`` under a policy that ignores the truth; without the plot."""
    folder = tmp_path_factory.mktemp("simulate") / "blind"
    with pytest.MonkeyPatch.context() as monkeypatch:
        leave_out_the_plot(monkeypatch)
        simulate(folder, seed=3, impressions=IMPRESSIONS, policy_weight=0.0)
    return load(folder)


@pytest.fixture
def unplotted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than simulating a few rows."""
    leave_out_the_plot(monkeypatch)


def leave_out_the_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.simulate.simulate.plot_simulation", lambda *_, **__: b"")

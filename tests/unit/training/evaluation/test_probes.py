from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from service.contract.manifest import Estimate, Proxy
from training.config import Config, load_config
from training.data.dataset import Dataset
from training.errors import ConfigError
from training.evaluation import probes
from training.evaluation.probes import measure_probes, probe, unpurified
from training.fitting.batches import training_tables
from training.fitting.scoring import catalogue_states
from training.nets.cp2rec.decomposed import Cp2recDecomposed, Cp2recOptions
from training.nets.cp2rec.interaction import Cp2recInteraction
from training.nets.cp2rec.interaction_layers import InteractionOptions
from training.nets.painvrl.modules import PainvrlOptions

POPULARITY = (Proxy(name="popularity"),)
STYLE = (Proxy(name="style", kind="categorical", categories=("plain", "loud", "calm")),)


def test_what_is_there_is_read_and_what_is_not_is_not() -> None:
    rng = np.random.default_rng(0)
    rank = rng.permutation(1000)
    popularity = np.exp(rank / 100)[:, None]  # any monotone transform is alike
    noise = rng.normal(size=(1000, 8))

    there = probe(np.c_[noise, -3.0 * rank], popularity, POPULARITY)
    absent = probe(noise, popularity, POPULARITY)

    assert there["popularity r2"] == pytest.approx(1.0, abs=1e-3)
    assert there["popularity auc"] == pytest.approx(1.0, abs=1e-3)
    assert absent["popularity r2"] == pytest.approx(0.0, abs=0.03)
    assert absent["popularity auc"] == pytest.approx(0.5, abs=0.05)


def test_half_the_variance_gives_half_of_it() -> None:
    rng = np.random.default_rng(0)
    rank = rng.permutation(4000)
    feature = rank + rng.normal(scale=rank.std(), size=4000)

    found = probe(feature[:, None], rank[:, None].astype(np.float64), POPULARITY)

    assert found["popularity r2"] == pytest.approx(0.5, abs=0.03)


def test_a_probe_is_judged_on_items_it_did_not_see() -> None:
    rng = np.random.default_rng(0)

    found = probe(rng.normal(size=(60, 55)), rng.normal(size=(60, 1)), POPULARITY)

    assert found["popularity r2"] < 0.1  # its fit to the training items would be near 1


def test_categories_are_read_one_against_the_others() -> None:
    rng = np.random.default_rng(0)
    style = rng.integers(3, size=600)
    one_hot = np.eye(3)[style]

    assert probe(one_hot, style[:, None].astype(np.float64), STYLE) == {
        "style auc": pytest.approx(1.0)
    }
    # "plain" shows and the other two look alike: AUC 1, and between them 3/4 on average.
    half = probe(one_hot[:, :1], style[:, None].astype(np.float64), STYLE)["style auc"]
    assert half == pytest.approx((1.0 + 0.75 + 0.75) / 3, abs=0.03)


def test_the_common_features_are_what_was_purified(dataset: Dataset) -> None:
    torch.manual_seed(0)
    options = InteractionOptions(dim=4, proxy_bins=4, purifier="proj")
    net = Cp2recInteraction(training_tables(dataset, np.arange(180)), options)
    state = catalogue_states(net, dataset, torch.ones(10, dtype=torch.bool))

    z, c = net.common_features(state), state[:, 4:8]

    assert z.shape == (10, 4)
    assert z.norm(dim=1).min() > 0.1
    torch.testing.assert_close((z * c).sum(1), torch.zeros(10), atol=1e-5, rtol=0)


def test_the_common_features_are_what_a_user_meets(dataset: Dataset) -> None:
    torch.manual_seed(0)
    options = Cp2recOptions(dim=4, proxy_bins=4)
    net = Cp2recDecomposed(training_tables(dataset, np.arange(180)), options)
    state = catalogue_states(net, dataset, torch.ones(10, dtype=torch.bool))
    user = torch.randn(1, 6)  # p, bias, conformity

    other = user.clone()
    other[:, :4] = 0
    with torch.no_grad():
        met = net.ranker(user, state, torch.ones(1)) - net.ranker(other, state, torch.ones(1))

    torch.testing.assert_close(met, net.common_features(state) @ user[0, :4], atol=1e-5, rtol=0)


def test_unknown_proxies_are_left_out() -> None:
    rng = np.random.default_rng(0)
    popularity = rng.normal(size=(200, 1))
    features = popularity.copy()
    features[::2] = 1e3 * rng.normal(size=(100, 1))  # would drown what the others tell
    popularity[::2] = np.nan

    assert probe(features, popularity, POPULARITY)["popularity auc"] == pytest.approx(1.0)
    assert probe(features[:60], popularity[:60], POPULARITY) == {}  # 30 known
    assert probe(features, np.ones((200, 1)), POPULARITY) == {}


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        ("cp2rec", ()),
        ("cp2rec-front", ()),
        ("cp2rec-paper", ("net.purifier=solve",)),
        ("cp2rec-paper", ("net.purifier=proj", "net.orthogonality_weight=0")),
    ],
)
def test_the_twin_differs_in_its_purification_alone(model: str, overrides: tuple[str, ...]) -> None:
    config = load_config(model, overrides=overrides)
    assert not isinstance(config.net, PainvrlOptions)

    twin = unpurified(config)

    if isinstance(twin.net, InteractionOptions):
        assert twin.net.purifier == "none"
        same = replace(twin.net, purifier=config.net.purifier)  # type: ignore[union-attr]
    else:
        assert isinstance(twin.net, Cp2recOptions)
        assert twin.net.orthogonality_weight == 0
        same = replace(twin.net, orthogonality_weight=config.net.orthogonality_weight)  # type: ignore[assignment]
    assert twin.model_copy(update={"net": same}) == config


@pytest.mark.parametrize(
    ("model", "override"),
    [
        ("cp2rec", "net.orthogonality_weight=0"),
        ("cp2rec-paper", "net.purifier=none"),
        ("cp2rec-paper", "net.orthogonality_weight=0"),
        ("painvrl", "seed=1"),
    ],
)
def test_without_purification_there_is_no_twin(model: str, override: str) -> None:
    with pytest.raises(ConfigError, match="--probes: "):
        unpurified(load_config(model, overrides=(override,)))


def test_twins_are_compared_by_seed_and_measured_once(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[tuple[float, int]] = []

    def measure(_: Dataset, config: Config, __: Path) -> probes._Run:
        assert isinstance(config.net, Cp2recOptions)
        weight = config.net.orthogonality_weight
        measured.append((weight, config.seed))
        common = {"a proxy r2": config.seed / 10 + (0.0 if weight else 0.3), "a proxy auc": 0.75}
        return probes._Run(common=common, content={"a proxy r2": 0.2, "a proxy auc": 0.5})

    monkeypatch.setattr(probes, "_measure", measure)
    config = load_config("cp2rec", overrides=("seed=3",))

    first = measure_probes(dataset, config, 3, tmp_path)
    assert measure_probes(dataset, config, 3, tmp_path) == first

    assert measured == [(0.01, 3), (0.01, 4), (0.01, 5), (0, 3), (0, 4), (0, 5)]
    r2, auc = first
    assert (r2.proxy, r2.measure, auc.proxy, auc.measure) == ("a proxy", "r2", "a proxy", "auc")
    assert r2.purified.mean == pytest.approx(0.4)
    assert r2.purified.se == pytest.approx(0.1 / np.sqrt(3))
    assert r2.unpurified.mean == pytest.approx(0.7)
    assert r2.difference.mean == pytest.approx(0.3)
    assert r2.difference.se == pytest.approx(0.0, abs=1e-12)
    assert r2.content.mean == pytest.approx(0.2)
    assert auc.difference == Estimate(mean=0.0, se=0.0)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from service.contract.manifest import Proxy
from tests.fitted_nets import fitted_net
from training.config import load_config
from training.data.dataset import Dataset
from training.evaluation.probes import probe, unpurified
from training.nets.base import NetOptions
from training.nets.cp2rec.decomposed import Cp2recOptions
from training.nets.cp2rec.interaction_layers import InteractionOptions

POPULARITY = (Proxy(name="popularity"),)
STYLE = (Proxy(name="style", kind="categorical", categories=("plain", "loud", "calm")),)


def test_a_proxy_is_read_where_it_is_and_nowhere_else() -> None:
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


def test_half_the_variance_gives_half_of_r2() -> None:
    rng = np.random.default_rng(0)
    rank = rng.permutation(4000)
    feature = rank + rng.normal(scale=rank.std(), size=4000)

    values = probe(feature[:, None], rank[:, None].astype(np.float64), POPULARITY)

    assert values["popularity r2"] == pytest.approx(0.5, abs=0.03)


def test_a_probe_is_judged_on_items_it_did_not_see() -> None:
    rng = np.random.default_rng(0)

    values = probe(rng.normal(size=(60, 55)), rng.normal(size=(60, 1)), POPULARITY)

    assert values["popularity r2"] < 0.1  # its fit to the training items would be near 1


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


def test_the_common_features_are_the_purified_ones(dataset: Dataset) -> None:
    fitted = fitted_net(dataset, InteractionOptions(dim=4, proxy_bins=4, purifier="proj"))
    state = fitted.item_states()

    z, c = fitted.net.common_features(state), state[:, 4:8]

    assert z.shape == (10, 4)
    assert z.norm(dim=1).min() > 0.1
    torch.testing.assert_close((z * c).sum(1), torch.zeros(10), atol=1e-5, rtol=0)


def test_the_common_features_are_those_that_a_user_vector_multiplies(dataset: Dataset) -> None:
    fitted = fitted_net(dataset, Cp2recOptions(dim=4, proxy_bins=4))
    net, state = fitted.net, fitted.item_states()
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
    features[::2] = 1e3 * rng.normal(size=(100, 1))  # would drown the informative rows
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
    assert isinstance(config.net, Cp2recOptions | InteractionOptions)

    twin = unpurified(config)

    assert twin is not None
    same: NetOptions
    if isinstance(config.net, InteractionOptions):
        assert isinstance(twin.net, InteractionOptions)
        assert twin.net.purifier == "none"
        same = replace(twin.net, purifier=config.net.purifier)
    else:
        assert isinstance(twin.net, Cp2recOptions)
        assert twin.net.orthogonality_weight == 0
        same = replace(twin.net, orthogonality_weight=config.net.orthogonality_weight)
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
    assert unpurified(load_config(model, overrides=(override,))) is None

"""The capabilities that a registry entry declares are those of the architecture."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from optuna.distributions import CategoricalDistribution

from tests.contract.architectures import LoggedRows, Variant, config_of, scores, small
from training.config import Config, load_config, value_of, with_values
from training.configs import MODELS
from training.data.dataset import Dataset
from training.errors import ConfigError
from training.fitting.runs import RunStore
from training.fitting.train_net import train_net
from training.nets.cp2rec.rivals import RivalOptions
from training.nets.registry import ARCHITECTURES, architecture, build_net, configurable

WITH_TOWER = [name for name in configurable() if ARCHITECTURES[name].tower(small(name))]


@pytest.fixture(scope="session")
def clicks_alone(toy_dataset: Dataset) -> Dataset:
    """Return the toy dataset with every label a click."""
    impressions = toy_dataset.impressions
    label = np.ones_like(impressions.label)
    return replace(toy_dataset, impressions=replace(impressions, label=label))


@pytest.mark.parametrize("name", configurable())
def test_an_architecture_learns_from_clicks_alone_or_refuses_them(
    name: str, clicks_alone: Dataset, tmp_path: Path
) -> None:
    config, runs = config_of(small(name)), RunStore(tmp_path)
    if not ARCHITECTURES[name].learns_from_clicks_alone:
        with pytest.raises(ConfigError, match=f"net.architecture = {name} needs skips too"):
            train_net(clicks_alone, config, runs)
        return

    fitted = train_net(clicks_alone, config, runs)

    rows = LoggedRows.of(clicks_alone)
    torch.manual_seed(config.seed)
    fresh = build_net(config.net, rows.tables)
    assert np.isfinite(fitted.fit.best)
    assert not torch.equal(fitted.net.user_vectors(), fresh.user_vectors())
    for tradeoff in (0.0, 1.0):
        assert torch.isfinite(scores(fitted.net, rows.states(fitted.net), tradeoff)).all()


@pytest.mark.parametrize("name", configurable())
def test_an_artifact_can_hold_the_options(name: str) -> None:
    config = config_of(ARCHITECTURES[name].options(architecture=name))

    assert Config.model_validate(config.model_dump(mode="json")) == config
    assert architecture(config.net) is ARCHITECTURES[name]


@pytest.mark.parametrize("name", WITH_TOWER)
def test_a_tower_carries_rivals(name: str, toy_dataset: Dataset) -> None:
    options = small(name)
    tower = ARCHITECTURES[name].tower(options)
    assert tower is not None
    rows = LoggedRows.of(toy_dataset)
    torch.manual_seed(0)
    rival = build_net(RivalOptions(objective="pda", tower=tower), rows.tables)
    torch.manual_seed(0)
    net = build_net(options, rows.tables)
    assert rows.states(rival).shape == rows.states(net).shape
    assert torch.equal(rival.learned_items(), net.learned_items())


def test_unpurified_options_purify_nothing(variant: Variant) -> None:
    entry = architecture(variant.options)
    bare = entry.unpurified(variant.options)
    if bare is None:
        return

    assert bare != variant.options
    assert architecture(bare) is entry
    assert entry.unpurified(bare) is None


def test_a_mask_is_learned_where_the_entry_declares_it(
    variant: Variant, logged_rows: LoggedRows
) -> None:
    mask = variant.net.learned_mask()

    assert architecture(variant.options).learns_mask(variant.options) is (mask is not None)
    if mask is not None:
        assert mask.gates.shape == (logged_rows.dataset.embedding.shape[1],)
        assert ((mask.gates >= 0) & (mask.gates <= 1)).all()
        assert mask.weights


@pytest.mark.parametrize("name", configurable())
def test_ablations_change_options_that_there_are(name: str, logged_rows: LoggedRows) -> None:
    for ablation in ARCHITECTURES[name].ablations.values():
        options = small(name)
        assert set(ablation.changes) <= {field.name for field in fields(options)}
        changed = replace(options, **ablation.changes)
        assert changed != options
        config = config_of(changed)  # validates
        build_net(config.net, logged_rows.tables)
        assert ablation.description


def test_a_scalable_net_scales_the_term_of_the_tradeoff(
    variant: Variant, logged_rows: LoggedRows
) -> None:
    net = copy.deepcopy(variant.net)
    net.scale_exposure(0.5)

    state, factor = logged_rows.states(net), 0.5 if net.scalable else 1.0
    before = [scores(variant.net, variant.state, w) for w in (0.0, 1.0)]
    after = [scores(net, state, w) for w in (0.0, 1.0)]
    assert torch.equal(after[0], before[0])
    torch.testing.assert_close(
        after[1] - after[0], factor * (before[1] - before[0]), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_search_covers_options_that_there_are_around_the_packaged_values(name: str) -> None:
    config = load_config(name)
    settled = [config.model_copy(update={"net": net}) for net in config.net.alternatives()]
    for key, values in architecture(config.net).search_space(config.net).items():
        for alternative in settled:
            packaged = value_of(alternative, key)
            assert values._contains(values.to_internal_repr(packaged)), (key, packaged)
        extremes = (
            values.choices
            if isinstance(values, CategoricalDistribution)
            else (values.low, values.high)  # type: ignore[attr-defined]  # int or float
        )
        for extreme in extremes:
            assert value_of(with_values(config, {key: extreme}), key) == extreme

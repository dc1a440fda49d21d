from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from training.config import Config, load_config
from training.errors import ConfigError
from training.nets.cp2rec.decomposed import Cp2recOptions
from training.nets.painvrl.modules import PainvrlOptions


def test_the_packaged_config_stands_alone_and_repeats_the_defaults_of_the_net() -> None:
    config = load_config("cp2rec")

    assert (config.net.architecture, config.seed, config.train.slate) == ("decomposed", 0, 16)
    assert config.front.reference == (0.5, 0.5)
    assert config.net == Cp2recOptions(exposure_weight=(0.0, 1.0))


def test_painvrl_s_config_repeats_the_defaults_of_its_net() -> None:
    config = load_config("painvrl")

    assert config.net == PainvrlOptions()
    assert load_config("painvrl-faithful").net == replace(
        PainvrlOptions(), base="ultragcn", candidates=500, regulariser=0.1
    )


def test_of_two_sets_the_later_holds() -> None:
    assert load_config("cp2rec", overrides=("seed=1", "seed=2")).seed == 2


@pytest.mark.parametrize(
    "text", ["net.architecture=ncf", 'net.architecture="ncf"', "net.architecture = ncf"]
)
def test_a_bare_word_is_a_string(text: str) -> None:
    assert load_config("cp2rec-front", overrides=(text,)).net.architecture == "ncf"


def test_values_are_toml() -> None:
    config = load_config("cp2rec", overrides=("front.reference=[0.6, 0.565]", "seed=1_0"))

    assert config.front.reference == (0.6, 0.565)
    assert config.seed == 10


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("seed=2147483648", "seed"),
        ("seed=18446744073709551616", "seed"),
        ("train.epochs=0", "train.epochs"),
        ("train.lr=quick", "train.lr"),
        ("train.lr=0", "train.lr"),
        ("train.lr=inf", "train.lr"),
        ("train.speed=1", "train.speed"),
        ("split.test=0.5", "split.test"),
        ("net.dim=wide", "net.dim"),
        ("net.dim=0", "net.dim"),
        ("net.proxy_dropout=1", "net.proxy_dropout"),
        ("net.prior_weight=-1", "net.prior_weight"),
        ("net.exposure_weight=[]", "net.exposure_weight"),
        ("net.width=3", "net.width"),
        ("front.points=1", "front.points"),
        ("default_tradeoff=1.5", "default_tradeoff"),
        ("model=other", "model"),
        ("net.architecture=rival", "net"),
        ("train=3", "train"),
        ("unknown=3", "unknown"),
        ("seed=-1", "seed"),
    ],
)
def test_an_error_names_the_key(override: str, named: str) -> None:
    with pytest.raises(ConfigError, match=rf"^configuration: {named}: \S"):
        load_config("cp2rec", overrides=(override,))


@pytest.mark.parametrize("override", ["seed", "=3", "", "seed 3"])
def test_the_error_of_a_set_without_a_key_or_value_shows_the_form(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("cp2rec", overrides=(override,))

    assert str(caught.value) == f"--set {override!r}: write it as section.key=value"


@pytest.mark.parametrize("override", ["a b=3", 'seed="3'])
def test_a_malformed_set_is_quoted(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("cp2rec", overrides=(override,))

    assert str(caught.value).startswith(f"--set {override!r}: ")


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000, "{a = " * 2000])
def test_a_value_beyond_the_reader_of_toml_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^configuration: seed: "):
        load_config("cp2rec", overrides=(f"seed={value}",))


def test_the_error_of_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'dcn' is not one of cp2rec"):
        load_config("dcn")


def test_a_config_is_frozen_and_survives_json() -> None:
    config = load_config("cp2rec", overrides=("net.dim=4",))

    with pytest.raises(ValidationError):
        config.seed = 3  # type: ignore[misc]  # the test: it is frozen
    assert Config.model_validate_json(config.model_dump_json()) == config

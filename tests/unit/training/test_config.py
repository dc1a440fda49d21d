from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

import training.configs
from training.config import Config, load_config
from training.errors import ConfigError
from training.nets.cp2rec.decomposed import Cp2recOptions
from training.nets.painvrl.modules import PainvrlOptions


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_the_packaged_config_stands_alone_and_repeats_the_defaults_of_the_net() -> None:
    config = load_config("cp2rec")

    assert (config.model, config.seed, config.train.slate) == ("cp2rec", 0, 16)
    assert config.front.reference == (0.5, 0.5)
    assert config.net == Cp2recOptions()


def test_painvrl_s_config_repeats_the_defaults_of_its_net() -> None:
    config = load_config("painvrl")

    assert config.net == PainvrlOptions()
    assert load_config("painvrl-faithful").net == replace(
        PainvrlOptions(), base="ultragcn", candidates=500, regulariser=0.1
    )


def test_a_file_goes_over_the_package_and_set_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "seed = 5\n[train]\nlr = 0.5\nepochs = 7\n[net]\ndim = 4\n")

    config = load_config("cp2rec", path, ("train.lr=0.25", "net.proxy_bins = 8"))

    assert config.seed == 5
    assert (config.train.lr, config.train.epochs) == (0.25, 7)
    assert config.net == Cp2recOptions(dim=4, proxy_bins=8)
    assert config.train.lr_final == load_config("cp2rec").train.lr_final  # untouched neighbour


@pytest.mark.parametrize(
    ("overlay", "model", "batch_rows", "dim"),
    [("coat", "cp2rec", 64 * 16, 16), ("kuairec", "cp2rec-paper", 1024, 10)],
)
def test_the_overlays_lie_over_their_packaged_configs(
    overlay: str, model: str, batch_rows: int, dim: int
) -> None:
    path = Path(training.configs.__file__).with_name(f"{overlay}.toml")

    config = load_config(model, path)

    assert config.train.slate * config.train.batch_slates == batch_rows
    assert getattr(config.net, "dim", None) == dim


def test_of_two_sets_the_later_holds() -> None:
    assert load_config("cp2rec", overrides=("seed=1", "seed=2")).seed == 2


@pytest.mark.parametrize("text", ["model=cp2rec", 'model="cp2rec"', "model = cp2rec"])
def test_a_bare_word_is_a_string(text: str) -> None:
    assert load_config("cp2rec", overrides=(text,)).model == "cp2rec"


def test_values_are_toml() -> None:
    config = load_config("cp2rec", overrides=("front.reference=[0.6, 0.565]", "seed=1_0"))

    assert config.front.reference == (0.6, 0.565)
    assert config.seed == 10


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("train.epochs=0", "train.epochs"),
        ("train.lr=quick", "train.lr"),
        ("train.lr=0", "train.lr"),
        ("train.lr=inf", "train.lr"),
        ("train.speed=1", "train.speed"),
        ("split.test=0.5", "split.test"),
        ("net.dim=wide", "net.dim"),
        ("net.dim=0", "net.dim"),
        ("net.proxy_dropout=1", "net.proxy_dropout"),
        ("net.item_bias_sd=0", "net.item_bias_sd"),
        ("net.width=3", "net.width"),
        ("front.points=1", "front.points"),
        ("default_tradeoff=1.5", "default_tradeoff"),
        ("model=other", "model"),
        ("train=3", "train"),
        ("unknown=3", "unknown"),
        ("seed=-1", "seed"),
    ],
)
def test_an_error_names_the_key(override: str, named: str) -> None:
    with pytest.raises(ConfigError, match=rf"^configuration: {named}: \S"):
        load_config("cp2rec", overrides=(override,))


@pytest.mark.parametrize("override", ["seed", "=3", "", "seed 3"])
def test_a_set_without_a_key_or_value_is_told_how_to_be(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("cp2rec", overrides=(override,))

    assert str(caught.value) == f"--set {override!r}: write it as section.key=value"


@pytest.mark.parametrize("override", ["a b=3", 'seed="3'])
def test_a_malformed_set_is_quoted(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("cp2rec", overrides=(override,))

    assert str(caught.value).startswith(f"--set {override!r}: ")


def test_an_unknown_model_is_told_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"'dcn' is not one of cp2rec"):
        load_config("dcn")


@pytest.mark.parametrize("content", [None, b"seed = ", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"mine\.toml: "):
        load_config("cp2rec", path)


def test_a_config_is_frozen_and_survives_json() -> None:
    config = load_config("cp2rec", overrides=("net.dim=4",))

    with pytest.raises(ValidationError):
        config.seed = 3  # type: ignore[misc]
    assert Config.model_validate_json(config.model_dump_json()) == config

"""``train --from``: an artifact's training state, and the trainings that continue from it."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.contract.artifact import Artifact, ArtifactError, open_artifact
from service.contract.attributes import Coding
from service.contract.files import sha256
from service.contract.repository import Repository
from tests.conftest import SHORT, World
from training.cli.app import main
from training.config import Config, load_config
from training.errors import ConfigError
from training.fitting.batches import training_tables
from training.fitting.runs import RunStore
from training.fitting.train_net import Checkpoints, train_net
from training.fitting.warm_start import training_state
from training.nets.registry import build_net
from training.release.parity import make_golden
from training.release.parts import STATE
from training.release.state import continue_from, read_state

WARM = ("warm_start.epochs=1", *SHORT)


@pytest.fixture
def copied(world: World, tmp_path: Path) -> Artifact:
    """Return a copy of the world's artifact, for a test to change."""
    path = tmp_path / "models" / "toy" / "1"
    shutil.copytree(world.artifact.path, path)
    return open_artifact(path)


def config_of(*overrides: str) -> Config:
    return load_config("cp2rec", overrides=(*WARM, *overrides))


def test_an_artifact_holds_the_state_of_its_training(world: World) -> None:
    expected, actual = training_state(world.fitted, None), read_state(world.artifact)

    assert (actual.items, actual.users) == (expected.items, expected.users)
    assert actual.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        assert torch.equal(actual.weights[name], weight), name
    assert set(actual.past) == {"items.weight", "users.weight"}
    for name, past in expected.past.items():
        assert torch.equal(actual.past[name].squares, past.squares)
        assert actual.past[name].steps == past.steps > 0
    assert actual.trained_until == expected.trained_until


def test_golden_outputs_are_the_artifacts_before_the_first_step(world: World) -> None:
    start = continue_from(world.artifact, world.config).start
    tables = training_tables(world.dataset, world.fitted.split.train, start.state.attributes)
    torch.manual_seed(9)
    net = build_net(world.config.net, tables)

    start.hand_over(net, world.dataset, tables)

    golden, expected = make_golden(replace(world.fitted, net=net.eval())), world.artifact.golden()
    for name, value in vars(expected).items():
        np.testing.assert_allclose(getattr(golden, name), value, atol=1e-6, err_msg=name)


def test_an_interrupted_warm_start_goes_on(world: World, tmp_path: Path) -> None:
    continuation = continue_from(world.artifact, config_of())
    config, start = continuation.config, continuation.start
    impressions = world.dataset.impressions
    absent = int(impressions.item[world.fitted.split.train[0]])
    rows = np.flatnonzero(impressions.item != absent)
    columns: dict[str, Any] = {
        name: None if column is None else column[rows] for name, column in vars(impressions).items()
    }
    dataset = replace(world.dataset, impressions=replace(impressions, **columns))
    whole, parts = (RunStore(tmp_path / name) for name in ("whole", "parts"))

    uninterrupted = train_net(dataset, config, whole, start=start)
    train_net(dataset, config, parts, start=start, stop_after=1)
    resumed = train_net(dataset, config, parts, start=start)

    assert resumed.warm[absent]  # it keeps what it learned
    assert resumed.fit == uninterrupted.fit
    for one, other in zip(
        uninterrupted.net.state_dict().values(), resumed.net.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_rows_of_the_former_training_measure_nothing(world: World, tmp_path: Path) -> None:
    start = continue_from(world.artifact, config_of()).start
    later = replace(start, state=replace(start.state, trained_until=np.inf))

    with pytest.raises(ConfigError, match=r"^--from: toy@1 learned from rows up to"):
        train_net(world.dataset, config_of(), RunStore(tmp_path), start=later)


def test_another_artifact_is_another_run(world: World, tmp_path: Path) -> None:
    start = continue_from(world.artifact, config_of()).start
    runs, dataset, config = RunStore(tmp_path), world.dataset, world.config

    files = {
        Checkpoints.of(dataset, config, runs, start=each).training
        for each in (None, start, replace(start, digest="f" * 64))
    }

    assert len(files) == 3


def test_the_schedule_is_a_shorter_one_and_the_option_is_the_chosen_one(world: World) -> None:
    several = config_of("net.exposure_weight=[0.0, 1.0]", "train.lr=0.02", "warm_start.epochs=3")

    config = continue_from(world.artifact, several).config

    assert config.net == world.config.net
    assert config.train == several.train.model_copy(update={"epochs": 3, "lr": 0.3 * 0.02})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("net.dim=16", "net.dim is 16 and in toy@1 32: add --set net.dim=32, or train without"),
        ("net.exposure_weight=[0.0, 2.0]", "net.exposure_weight is 0.0 and in toy@1 1.0: add"),
    ],
)
def test_other_options_of_the_net_are_refused(world: World, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^--from: ") as caught:
        continue_from(world.artifact, config_of(override))

    assert message in str(caught.value)


def test_another_architecture_is_refused(world: World) -> None:
    with pytest.raises(ConfigError, match=r"net\.architecture is dcn and in toy@1 decomposed"):
        continue_from(world.artifact, load_config("cp2rec-front"))


def test_other_columns_of_the_dataset_are_refused(world: World) -> None:
    continuation, dataset = continue_from(world.artifact, config_of()), world.dataset
    fewer = dataset.description.model_copy(update={"proxies": dataset.proxy_fields[:1]})

    with pytest.raises(ConfigError, match="was trained on modalities"):
        continuation.check(replace(dataset, modalities=dataset.modalities[:0]))
    with pytest.raises(ConfigError, match="was trained on proxies"):
        continuation.check(replace(dataset, description=fewer))
    with pytest.raises(ConfigError, match="was trained on user attributes"):
        continuation.check(replace(dataset, user_codings=(Coding(name="age"),)))


def test_an_artifact_without_state_serves_but_nothing_continues_from_it(copied: Artifact) -> None:
    (copied.path / STATE).unlink()

    assert open_artifact(copied.path).manifest == copied.manifest
    with pytest.raises(ConfigError, match=r"^--from: toy@1 holds no training state"):
        continue_from(copied, config_of())


def test_a_state_of_other_bytes_is_refused(copied: Artifact) -> None:
    content = bytearray((copied.path / STATE).read_bytes())
    content[len(content) // 2] ^= 1
    (copied.path / STATE).write_bytes(content)

    with pytest.raises(ArtifactError, match=r"training_state\.npz: SHA-256 is"):
        read_state(copied)


def test_the_service_does_not_read_the_state(copied: Artifact) -> None:
    (copied.path / STATE).write_bytes(b"damaged")

    assert open_artifact(copied.path).manifest == copied.manifest


def test_the_command_continues_and_names_the_predecessor(
    copied: Artifact, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied.path.parents[2]
    monkeypatch.chdir(root)
    sets = [word for override in SHORT for word in ("--set", override)]
    train = ["training", "train", "--model", "cp2rec", "--data", str(world.dataset.path), "--name"]
    monkeypatch.setattr(sys, "argv", [*train, "toy", "--from", "toy", *sets])

    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 0
    first, second = (open_artifact(Repository(root / "models").path("toy", v)) for v in (1, 2))
    assert first.manifest.continued_from is None
    assert json.loads(second.manifest.model_dump_json())["continued_from"] == {
        "name": "toy",
        "version": 1,
        "sha256": sha256(first.path / "manifest.json"),
    }
    assert (
        read_state(second).past["users.weight"].steps > read_state(first).past["users.weight"].steps
    )
    logged = [each.manifest.front.points[-1].logged["auc"].mean for each in (first, second)]
    assert logged[1] > logged[0] - 0.02

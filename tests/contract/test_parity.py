"""Torch, the ONNX graphs and the service's own path compute the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from service.contract.artifact import ArtifactError, Golden
from service.contract.manifest import Graph
from service.contract.records import mask_matrix
from service.contract.repository import Repository
from service.models.scorer import Scorer
from tests.conftest import World
from tests.contract.harmed import append_node, rehashed
from tests.torch_ranking import item_states
from training.data.dataset import Dataset
from training.errors import ExportError
from training.evaluation.user_groups import largest_gap
from training.fitting.fitted_net import FittedNet
from training.nets.base import FrontNet
from training.nets.cp2rec.decomposed import Cp2recOptions
from training.release.export import LEARNED_MODALITY, default_tradeoff, export_artifact
from training.release.parity import make_golden, prove_parity
from training.release.publish import item_values

TRADEOFFS = (0.0, 0.1, 0.5, 0.9, 1.0)


@pytest.fixture(scope="module")
def scorer(world: World) -> Scorer:
    scorer = Scorer(world.artifact)
    scorer.replay()
    return scorer


def _service_states(world: World, scorer: Scorer) -> np.ndarray:
    values, mask = item_values(world.artifact, world.dataset)
    modalities = len(world.artifact.manifest.modalities)
    return scorer.encode_items(values, mask_matrix(mask, modalities), world.dataset.proxies)


def test_states_agree_with_torch_for_every_item(world: World, scorer: Scorer) -> None:
    states = _service_states(world, scorer)
    expected = item_states(world.fitted, world.dataset).numpy()
    np.testing.assert_allclose(states, expected, atol=1e-5)
    assert states.shape == (len(world.dataset.item_ids), world.artifact.manifest.state_dim)


@pytest.mark.parametrize("tradeoff", TRADEOFFS)
def test_logits_agree_with_torch(world: World, scorer: Scorer, tradeoff: float) -> None:
    states = _service_states(world, scorer)
    users = world.fitted.net.user_vectors().detach()
    torch_states = item_states(world.fitted, world.dataset)
    for row in (0, 7, 31):
        with torch.inference_mode():
            expected = world.fitted.net.ranker(
                users[row : row + 1], torch_states, torch.tensor([tradeoff])
            )
        (logits,) = scorer.score(users[row : row + 1].numpy(), states, [tradeoff])
        np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)


def test_both_ends_are_the_two_heads_exactly(world: World, scorer: Scorer) -> None:
    states = _service_states(world, scorer)
    user = world.fitted.net.user_vectors().detach().numpy()[4:5]
    options = world.config.net
    assert isinstance(options, Cp2recOptions)
    dim = options.dim
    p, bias, conformity = user[0, :dim], user[0, dim], user[0, dim + 1]
    wide = states.astype(np.float64)
    debiased = wide[:, :dim] @ p + wide[:, dim] + bias
    pull = conformity * wide[:, dim + 1] + wide[:, dim + 2]
    ends = scorer.score(user, states, [0.0, 1.0])
    np.testing.assert_allclose(ends, [debiased, debiased + pull], atol=2e-6)
    assert np.abs(pull).max() > 0.05


@pytest.mark.parametrize("tradeoff", TRADEOFFS)
def test_learned_interactions_agree_with_torch(interaction_world: World, tradeoff: float) -> None:
    scorer = Scorer(interaction_world.artifact)
    scorer.replay()
    assert scorer.ranker == "onnxruntime"
    states = _service_states(interaction_world, scorer)
    users = interaction_world.fitted.net.user_vectors().detach()[5:6]
    with torch.inference_mode():
        expected = interaction_world.fitted.net.ranker(
            users,
            item_states(interaction_world.fitted, interaction_world.dataset),
            torch.tensor([tradeoff]),
        )
    np.testing.assert_allclose(
        scorer.score(users.numpy(), states, [tradeoff])[0], expected.numpy(), atol=1e-5
    )
    empty = scorer.encode_user(states[:0])
    np.testing.assert_array_equal(empty, np.zeros_like(empty))


@pytest.mark.parametrize("length", [0, 1, 2, 50])
def test_the_user_encoder_takes_any_history(world: World, scorer: Scorer, length: int) -> None:
    history = _service_states(world, scorer)[:length]
    with torch.inference_mode():
        expected = world.fitted.net.user_encoder(torch.from_numpy(history))
    user = scorer.encode_user(history)
    assert user.shape == (1, world.artifact.manifest.user_dim)
    np.testing.assert_allclose(user, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 31, 64, 67, 500])
def test_equal_items_get_equal_logits_wherever_they_stand(
    world: World, scorer: Scorer, count: int
) -> None:
    states = np.repeat(_service_states(world, scorer)[11:12], count, axis=0)
    for user in world.fitted.net.user_vectors().detach().numpy()[:12]:
        logits = scorer.score(user[None], states, [0.37])
        assert logits.shape == (1, count)
        assert len(np.unique(logits)) == 1


@pytest.mark.parametrize("count", [1, 2, 799])
def test_a_score_does_not_depend_on_its_neighbours(
    world: World, scorer: Scorer, count: int
) -> None:
    states = _service_states(world, scorer)
    user = world.fitted.net.user_vectors().detach().numpy()[:1]
    together = scorer.score(user, states, [0.5])[:, :count]
    np.testing.assert_allclose(scorer.score(user, states[:count], [0.5]), together, atol=1e-6)


def test_the_golden_inputs_cover_absent_modalities_and_proxies(world: World) -> None:
    golden = world.artifact.golden()
    lacking = (golden.modality_mask == 0).any(axis=0)
    assert lacking.all(), "some modality is never absent"
    assert (golden.modality_mask == 0).all(axis=1).any()
    assert np.isnan(golden.proxies).all(axis=1).any()
    assert set(golden.tradeoffs) >= {0.0, 1.0}


def test_golden_inputs_replay(scorer: Scorer) -> None:
    scorer.replay()
    assert scorer.ranker == "product"


def test_a_graph_that_computes_something_else_is_refused(copy: Path) -> None:
    append_node(copy / "ranker.onnx", "Neg")
    with pytest.raises(ArtifactError, match=r"golden.npz: logits: off by"):
        Scorer(rehashed(copy, "ranker.onnx")).replay()


def test_a_graph_of_another_signature_is_refused(copy: Path) -> None:
    shutil.copy(copy / "user_encoder.onnx", copy / "ranker.onnx")
    with pytest.raises(
        ArtifactError, match=r"ranker.onnx: inputs are .*history.*as in the manifest"
    ):
        Scorer(rehashed(copy, "ranker.onnx"))


def test_a_file_that_is_no_graph_is_refused(copy: Path) -> None:
    (copy / "item_encoder.onnx").write_bytes(b"not a graph")
    with pytest.raises(ArtifactError, match=r"item_encoder.onnx: onnxruntime cannot load"):
        Scorer(rehashed(copy, "item_encoder.onnx"))


def test_the_service_checks_an_artifact_from_the_command_line(copy: Path) -> None:
    command = [sys.executable, "-m", "service", "--check", str(copy)]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout.strip()) == (
        0,
        "toy@1: all files and golden logits are valid",
    )
    (copy / "golden.npz").unlink()
    bad = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert "golden.npz: is missing" in bad.stderr


def test_parity_that_fails_leaves_no_version_behind(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(fitted: FittedNet) -> Golden:
        golden = make_golden(fitted)
        golden.logits[2, 3] += 1e-3
        return golden

    def the_worlds(_net: FrontNet, _dataset: Dataset, folder: Path) -> dict[Any, Graph]:
        for name in world.artifact.manifest.graphs:
            shutil.copy(world.artifact.graph(name), folder)
        return dict(world.artifact.manifest.graphs)

    monkeypatch.setattr("training.release.export.make_golden", off)
    monkeypatch.setattr("training.release.export.export_graphs", the_worlds)
    repository = Repository(tmp_path)
    reference = world.artifact.bias_reference()
    assert reference is not None
    with pytest.raises(ExportError, match=r"ranker at tradeoff 0.5: ONNX and torch differ"):
        export_artifact(
            world.fitted,
            world.artifact.manifest.front,
            reference,
            world.config,
            repository,
            "toy",
        )
    assert repository.versions("toy") == []
    assert list((tmp_path / "toy").iterdir()) == []


def test_a_logit_that_is_not_a_number_fails_parity(world: World) -> None:
    golden = make_golden(world.fitted)
    golden.logits[0, 0] = np.nan
    with pytest.raises(ExportError, match="ranker at tradeoff 0"):
        prove_parity(world.artifact.path, golden, 0.01)


@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_the_tolerance_is_a_share_of_the_largest_logit(
    world: World, copy: Path, scale: float
) -> None:
    """Scale the ranker and its golden logits; move one logit by a little less or more."""
    factor = onnx.numpy_helper.from_array(np.array(scale, np.float32), "scale")
    append_node(copy / "ranker.onnx", "Mul", factor)
    rehashed(copy, "ranker.onnx")
    golden = make_golden(world.fitted)
    logits = scale * golden.logits
    largest = max(1.0, float(np.abs(logits).max()))
    assert (largest > 30) == (scale > 1)
    for share, accepted in ((0.5e-5, True), (3e-5, False)):
        moved = logits.copy()
        moved[2, 3] += share * largest
        replace(golden, logits=moved).save(copy / "golden.npz")
        scorer = Scorer(rehashed(copy, "golden.npz"))
        if accepted:
            prove_parity(copy, replace(golden, logits=moved), 1e-5)
            scorer.replay()
            continue
        with pytest.raises(ExportError, match=r"by 3\.\d+e-05, over parity_tolerance 1e-05; to "):
            prove_parity(copy, replace(golden, logits=moved), 1e-5)
        prove_parity(copy, replace(golden, logits=moved), 1e-4)
        with pytest.raises(ArtifactError, match=r"3\.\d+e-05 of the largest .* parity_tolerance"):
            scorer.replay()


def test_requests_without_a_tradeoff_get_the_recommended_one(interaction_world: World) -> None:
    manifest = interaction_world.artifact.manifest
    assert manifest.config["default_tradeoff"] is None
    assert manifest.default_tradeoff == manifest.front.recommended
    assert manifest.front.advice.startswith(f"Serve w = {manifest.default_tradeoff:g}: ")


def test_a_configured_tradeoff_is_not_overruled(world: World) -> None:
    front = world.artifact.manifest.front
    other = front.model_copy(update={"recommended": 0.3})
    assert default_tradeoff(world.config, other) == 0.5
    free = world.config.model_copy(update={"default_tradeoff": None})
    assert default_tradeoff(free, other) == 0.3


def test_the_manifest_says_how_well_groups_of_users_are_calibrated(world: World) -> None:
    manifest = world.artifact.manifest
    assert largest_gap(manifest.front.user_groups) in manifest.calibration.meaning
    assert manifest.calibration == world.fitted.calibration


def test_the_manifest_describes_the_artifact(world: World) -> None:
    manifest = world.artifact.manifest
    assert {"manifest.json", *manifest.files, *manifest.training_files} == {
        path.name for path in world.artifact.path.iterdir()
    }
    assert set(manifest.training_files) == {"training_state.npz"}
    assert {"front.json", "front.png", "items.parquet", "users.parquet"} <= set(manifest.files)
    assert [m.name for m in manifest.modalities] == ["image", "audio", LEARNED_MODALITY]
    assert [m.learned for m in manifest.modalities] == [False, False, True]
    assert manifest.config == world.config.model_dump(mode="json")
    assert manifest.dataset.fingerprint == world.dataset.fingerprint
    front = json.loads((world.artifact.path / "front.json").read_text())
    assert front == manifest.front.model_dump(mode="json")
    assert len(front["points"]) == 11
    assert (world.artifact.path / "front.png").read_bytes().startswith(b"\x89PNG")

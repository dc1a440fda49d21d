"""Models that must not serve, and models that move while they serve."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from service.contract.alias_moves import roll_back, set_candidate
from service.contract.artifact import MANIFEST
from service.contract.files import sha256
from service.contract.rollout import Rollout
from tests.chaos.scenario import Allowed, scenario
from tests.chaos.stack import POLL_S, Needs, Stack
from tests.chaos.world import NAME
from tests.integration.conftest import until

_SWAPS = 10


@scenario(
    "The champion moves to six broken artifacts in turn: no manifest, a manifest cut short, no "
    "ranker, a ranker with a flipped bit, golden logits of another model, no records in the store",
    Allowed(),
)
def broken_artifacts(stack: Stack) -> None:
    for number, break_one in enumerate((*_BREAKS, _keep), start=3):
        folder = stack.models / NAME / str(number)
        shutil.copytree(stack.artifact(2).path, folder)
        break_one(folder)
        failed = stack.replicas[0].metric('rank_model_loads_total{result="failed"}')
        _point(stack, number)
        until(lambda: _failures(stack) > failed)  # noqa: B023  # within the loop's turn
        stack.hold(POLL_S)
        status, _ = stack.replicas[0].readiness()
        stack.check("replicas stay ready", status == 200)
        stack.check("the version before goes on to serve", _version(stack) == 1)
    stack.promote(1)


@scenario("The model repository is moved away for 4 s", Allowed())
def model_volume_lost(stack: Stack) -> None:
    aside = stack.models.with_name("aside")
    stack.models.rename(aside)
    stack.hold(4)
    until(lambda: stack.replicas[0].metric("rank_repository_faults") > 0)
    status, reason = stack.replicas[0].readiness()
    stack.check("replicas stay ready and give the reason", status == 200 and "loaded" in reason)
    aside.rename(stack.models)
    until(lambda: stack.replicas[0].metric("rank_repository_faults") == 0)


@scenario(
    f"The champion moves {_SWAPS} times between two versions, as fast as replicas follow",
    Allowed(),
    Needs(published=2),
)
def swaps(stack: Stack) -> None:
    for number in range(_SWAPS):
        version = 2 - number % 2
        stack.promote(version)
        until(lambda: _version(stack) == version)  # noqa: B023  # within the loop's turn
    stack.check(
        "each loaded model has one follower",
        until(lambda: stack.replicas[0].metric("rank_catalog_followers") == 1),
    )


@scenario(
    "A candidate repeats all rankings unseen (shadow) for 6 s",
    Allowed(),
    Needs(published=2),
)
def shadow(stack: Stack) -> None:
    set_candidate(stack.repository, NAME, Rollout(version=2, salt=f"{NAME}@2", shadow=1.0))
    replica = stack.replicas[0]
    until(lambda: replica.metric("rank_shadow_agreement_count") > 0)
    stack.hold(6)
    stack.check("no shadow ranking fails", replica.metric("rank_shadow_failed_total") == 0)
    set_candidate(stack.repository, NAME, Rollout())


@scenario(
    "The champion moves to a version, and back by rollback",
    Allowed(),
    Needs(published=2),
)
def rollback(stack: Stack) -> None:
    stack.promote(2)
    until(lambda: _version(stack) == 2)
    stack.hold(1)
    roll_back(stack.repository, NAME)
    until(lambda: _version(stack) == 1)


def _point(stack: Stack, version: int) -> None:
    """Move the alias as an old or foreign tool does: `promote` refuses a broken version."""
    path = stack.models / NAME / "aliases.json"
    aside = path.with_name("aliases.new")
    aside.write_text(json.dumps({**json.loads(path.read_text()), "champion": version}))
    aside.rename(path)


def _failures(stack: Stack) -> float:
    return stack.replicas[0].metric('rank_model_loads_total{result="failed"}')


def _version(stack: Stack) -> float:
    name = f'rank_model_alias_version{{alias="champion",name="{NAME}"}}'
    return stack.replicas[0].metric(name)


def _no_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def _cut_manifest(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text[: len(text) // 2])


def _no_graph(folder: Path) -> None:
    (folder / "ranker.onnx").unlink()


def _flipped_bit(folder: Path) -> None:
    content = bytearray((folder / "ranker.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "ranker.onnx").write_bytes(content)


def _other_logits(folder: Path) -> None:
    path = folder / "golden.npz"
    with np.load(path) as arrays:
        changed = {name: arrays[name] for name in arrays.files}
    changed["logits"] = changed["logits"] + 1
    np.savez(path, **changed)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["golden.npz"] = sha256(path)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def _keep(_: Path) -> None:
    """A whole artifact, whose records are not published."""


_BREAKS: tuple[Callable[[Path], None], ...] = (
    _no_manifest,
    _cut_manifest,
    _no_graph,
    _flipped_bit,
    _other_logits,
)

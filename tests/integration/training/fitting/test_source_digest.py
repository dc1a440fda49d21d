"""Results go stale with the sources that made them, committed or not, and with nothing else."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from tests.integration.training.fitting.source_tree import SourceTree
from training.fitting import provenance

SEGMENTS = "training.evaluation.segments"


@pytest.fixture(scope="module")
def before(tree: SourceTree) -> str:
    """Return the digest of the unchanged copy."""
    return tree.digest()


@pytest.mark.parametrize(
    "source",
    [
        "training/fitting/train_net.py",  # itself
        "training/fitting/trainer.py",  # imported
        "training/fitting/distributed.py",  # imported as a name of its package
        "training/metrics/auc.py",  # imported by an imported one
        "training/nets/painvrl/gates.py",  # of an architecture that the registry lists
        "training/nets/__init__.py",  # the package of an imported one
        "training/__init__.py",
        "service/contract/manifest.py",
        "training/configs/cp2rec.toml",
    ],
)
def test_a_changed_source_invalidates(tree: SourceTree, before: str, source: str) -> None:
    with tree.changed(source):
        assert tree.digest() != before
    assert tree.digest() == before  # restored


@pytest.mark.parametrize(
    "unreachable",
    [
        "README.md",
        "training/demo/demo.py",
        "training/cli/evaluate.py",
        "training/release/export.py",
        "training/evaluation/segments.py",
        "service/app.py",
    ],
)
def test_a_file_that_training_cannot_reach_does_not(
    tree: SourceTree, before: str, unreachable: str
) -> None:
    with tree.changed(unreachable):
        assert tree.digest() == before


def test_a_measurement_depends_on_its_module_and_on_training(tree: SourceTree) -> None:
    before = tree.digest(SEGMENTS)

    for source in ("training/evaluation/segments.py", "training/fitting/trainer.py"):
        with tree.changed(source):
            assert tree.digest(SEGMENTS) != before
    with tree.changed("training/evaluation/probes.py"):
        assert tree.digest(SEGMENTS) == before


def test_a_new_packaged_configuration_invalidates(tree: SourceTree, before: str) -> None:
    path = tree.folder / "training/configs/mine.toml"
    path.write_text("seed = 3\n")
    try:
        assert tree.digest() != before
    finally:
        path.unlink()


def test_another_version_of_torch_invalidates(
    tree: SourceTree, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        provenance, "version", lambda library: "9" if library == "torch" else version(library)
    )

    assert tree.digest() != before

from __future__ import annotations

from tests.conftest import WORLD_COMMIT, World


def test_a_manifest_names_the_commit_and_its_changes(world: World) -> None:
    manifest = world.artifact.manifest

    assert manifest.git_commit == WORLD_COMMIT
    assert manifest.git_dirty is True

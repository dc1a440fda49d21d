"""The spaces of proxies that services read: those of every version that an alias names."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from service.contract.artifact import ArtifactError, open_artifact
from service.contract.manifest import Spaces
from service.contract.repository import Repository
from training.feed.specification import Feed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """Where a model's proxies are, and their names in the order of a record's values."""

    spaces: Spaces
    names: tuple[str, ...]


class Targets:
    """Finds the models that have proxies of a feed."""

    def __init__(self, repository: Repository, feed: Feed) -> None:
        self._repository = repository
        self._counted = {proxy.name for proxy in feed.proxies}
        self._warned = False
        self._last: list[Target] = []
        self._known: dict[Path, Target | None] = {}  # by the folder of a version

    def __call__(self) -> list[Target]:
        """Return one target for each space of proxies; a version that cannot be read has none.

        While the aliases cannot be read, the targets stay what they were.
        """
        try:
            versions = [
                self._repository.path(name, version)
                for name in self._repository.folders()
                for version in set(self._repository.aliases(name).values())
            ]
        except ArtifactError as error:
            log.warning("the models whose proxies are counted stay as they were: %s", error)
            return self._last
        targets = {target.spaces.proxies: target for path in versions if (target := self._of(path))}
        if not targets and not self._warned:
            log.warning("no model that an alias names has a proxy of feed.toml: none is counted")
        self._warned = not targets
        self._last = list(targets.values())
        return self._last

    def _of(self, path: Path) -> Target | None:
        if path not in self._known:
            self._known[path] = self._opened(path)
        return self._known[path]

    def _opened(self, path: Path) -> Target | None:
        try:
            manifest = open_artifact(path).manifest
        except ArtifactError as error:
            log.warning("its proxies are not counted: %s", error)
            return None
        names = tuple(proxy.name for proxy in manifest.proxies)
        counted = ", ".join(sorted(self._counted & set(names))) or "none"
        log.info("%s@%s: counted proxies: %s", path.parent.name, path.name, counted)
        return Target(manifest.spaces, names) if self._counted & set(names) else None

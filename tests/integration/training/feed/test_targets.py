"""Whose proxies are counted: those of the versions that aliases name."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.contract.artifact import ArtifactError
from service.contract.manifest import Proxy, Spaces
from service.contract.repository import Repository
from training.feed import targets
from training.feed.specification import CountedProxy, Feed
from training.feed.targets import Targets

FEED = Feed(proxies=(CountedProxy.model_validate({"name": "c", "count": "click", "window": "1h"}),))


def _opened(path: Path) -> Any:
    if path.name == "4":
        raise ArtifactError(path, "is damaged")
    names = {"1": ("c", "age"), "2": ("c", "age"), "3": ("age",)}[path.name]
    spaces = Spaces(items=f"i{path.name}", users="u", proxies=f"p{len(names)}")
    proxies = tuple(Proxy(name=name) for name in names)
    return SimpleNamespace(manifest=SimpleNamespace(proxies=proxies, spaces=spaces))


def test_each_space_of_an_aliased_version_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(targets, "open_artifact", _opened)
    find = Targets(Repository(tmp_path), FEED)
    assert find() == []
    assert "no model that an alias names has a proxy of feed.toml" in caplog.text
    (tmp_path / "toy").mkdir()
    aliases = tmp_path / "toy" / "aliases.json"
    aliases.write_text(json.dumps({"champion": 1, "candidate": 2, "other": 3, "bad": 4}))
    (target,) = find()
    assert (target.spaces.proxies, target.names) == ("p2", ("c", "age"))
    aliases.write_text("{")
    assert find() == [target]
    assert "stay as they were" in caplog.text

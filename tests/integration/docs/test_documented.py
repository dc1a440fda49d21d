"""No name that a user meets is missing from the pages: the names are those of the code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from typing import get_args

import numpy as np
import pytest
from pydantic import BaseModel
from scipy.sparse import csr_array

from service.api.reports import RequestLine
from service.contract.store_url import OPTIONS, TLS_OPTIONS
from service.errors import RankError
from service.ranking.messages import Degraded
from tests.conftest import World
from tests.integration.docs.pages import DOCS, ROOT
from training.configs import MODELS
from training.data.convert import CONVERTERS
from training.data.impressions import EXPOSURES, SPLITS, Impressions
from training.data.raw_log.specification import RawLog
from training.data.schema import Description, Embedding
from training.evaluation.baselines.full_ranking import RANKING_BASELINES
from training.evaluation.baselines.reranking import BASELINES
from training.feed.specification import Feed
from training.media.description import EncoderFile
from training.metrics.full_ranking import TAIL_RECALL, RankingTask, full_ranking_by_user
from training.nets.registry import ARCHITECTURES


def code_words(page: str) -> set[str]:
    """Return what stands as code on a page, outside of its fenced blocks."""
    text = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([^`]+)`", text))


def listed(page: str) -> set[str]:
    """Return what stands as code in the first column of a page's tables."""
    cells = re.findall(r"^\| ([^|]+) \|", (DOCS / page).read_text(), re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def _error_codes(error: type[RankError] = RankError) -> Iterator[str]:
    yield error.code
    for narrower in error.__subclasses__():
        yield from _error_codes(narrower)


def _columns() -> set[str]:
    renamed = {"user": "user_id", "item": "item_id", "uniform": "exposure"}
    fields = set(Impressions.__annotations__) - {"proxies"}
    return {renamed.get(field, field) for field in fields}


def _packaged() -> set[str]:
    files = resources.files("training.configs").iterdir()
    overlays = {file.name for file in files if file.name.endswith(".toml")}
    return set(MODELS) | (overlays - {f"{model}.toml" for model in MODELS})


def _targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text()
    return {f"make {name}" for name in re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE)}


def _compose_variables() -> set[str]:
    return set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))


def _keys(model: type[BaseModel]) -> Iterator[str]:
    """Yield the keys of a TOML file, those of its tables included."""
    for name, field in model.model_fields.items():
        yield name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _keys(kind)


def _ablations() -> set[str]:
    return {name for entry in ARCHITECTURES.values() for name in entry.ablations}


LISTED = {
    "converters": ("datasets.md", set(CONVERTERS)),
    "keys of dataset.toml": ("datasets.md", set(Description.model_fields)),
    "keys of an encoder's description": ("embeddings.md", set(_keys(EncoderFile))),
    "keys of prepare.toml": ("raw-log.md", set(_keys(RawLog)) - set(Embedding.model_fields)),
    "keys of feed.toml": ("collecting.md", set(_keys(Feed))),
    "columns of impressions": ("datasets.md", _columns()),
    "packaged configurations": ("training.md", set(MODELS)),
    "baselines": ("evaluation.md", {*BASELINES, *RANKING_BASELINES, *_ablations()}),
    "verdicts": ("evaluation.md", {"clear", "weak", "none"}),
    "reasons of degraded rankings": ("api.md", {str(reason) for reason in Degraded}),
    "make targets": ("development.md", _targets()),
    "fields of a request's line": ("logs-and-traces.md", set(RequestLine.__struct_fields__)),
    "variables of the compose stack": ("deploying.md", _compose_variables()),
}
NAMED = {
    "exposures and splits": ("datasets.md", {*EXPOSURES, *SPLITS}),
    "configurations": ("training.md", _packaged()),
    "options of store URLs": ("deploying.md", {*OPTIONS, *TLS_OPTIONS}),
    "codes of errors": ("api.md", {*_error_codes(), "not_found", "http_error"}),
}


@pytest.mark.parametrize("kind", LISTED)
def test_every_name_stands_in_a_table(kind: str) -> None:
    page, names = LISTED[kind]
    assert names
    assert not names - listed(page), f"docs/{page} lacks {kind}"


@pytest.mark.parametrize("kind", NAMED)
def test_every_name_is_documented(kind: str) -> None:
    page, names = NAMED[kind]
    assert names
    assert not names - code_words(page), f"docs/{page} lacks {kind}"


def test_every_metric_of_a_front_is_documented(world: World) -> None:
    point = world.artifact.manifest.front.points[0]
    names = {*point.logged, *point.unbiased, *point.shown}
    assert {"auc", "coverage"} <= names
    assert not names - code_words("evaluation.md")


def test_every_metric_of_clicks_alone_is_documented() -> None:
    clicks = csr_array(np.eye(3, dtype=np.bool_))
    held_out = csr_array(np.roll(np.eye(3, dtype=np.bool_), 1, axis=1))
    positives = {"train": clicks, "validation": held_out, "test": held_out}
    task = RankingTask(3, 3, positives, np.ones(3, np.int64))
    table = full_ranking_by_user(task, lambda users: np.ones((len(users), 3), np.float32), "test")
    names = set(table) - {TAIL_RECALL}  # the unbiased side's recall
    assert names
    assert not names - code_words("evaluation.md")


def test_every_command_is_shown_on_a_page() -> None:
    page = (DOCS / "reference" / "cli.md").read_text()
    for name in re.findall(r"^## ([\w -]+)$", page, re.MULTILINE):
        pattern = re.compile(rf"(python -m training|paretorank) {name}\b|make {name}\b")
        pages = [path for path in DOCS.glob("*.md") if pattern.search(path.read_text())]
        assert pages, f"no page shows {name}"


def test_every_dependency_has_its_use() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        required += extra
    packages = [text.split(">=")[0] for text in required]
    names = {name for package in packages for name in re.findall(r"[a-z][a-z0-9-]+", package)}
    section = (DOCS / "development.md").read_text().split("\n## Dependencies\n")[1]
    listed = set(re.findall(r"[\w-]+", " ".join(re.findall(r"^\| ([^|]+) \|", section, re.M))))
    assert names - listed == set()
    assert listed - names == {"dependency", "---"}

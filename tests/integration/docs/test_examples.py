"""The examples of the API's pages run against a real service and answer as shown."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.contract.experiments import Plan
from service.errors import FrameworkError, RankError, StoreError
from tests.conftest import World
from tests.integration.conftest import Running, deploy
from tests.integration.docs.pages import DOCS, ROOT, blocks

CLIENT = ROOT / "clients" / "typescript"
ADDRESS = "127.0.0.1:8000"
# A request, and the answer if the page shows one.
_REQUEST = re.compile(
    r"^```sh\n(curl .*?)^```\n(?:\n```json\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
)
REQUESTS = [
    pytest.param(*example, id=f"{page.stem}-{number}")
    for page in (
        ROOT / "README.md",
        DOCS / "api.md",
        DOCS / "access.md",
        DOCS / "clients.md",
        DOCS / "feedback.md",
        DOCS / "targets.md",
    )
    for number, example in enumerate(_REQUEST.findall(page.read_text()))
]
PROGRAMS = blocks(DOCS / "clients.md", "python")


@pytest.fixture(scope="module")
def service(
    world: World, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Serve the world for the examples alone: their events move the rankings of a user."""
    models = tmp_path_factory.mktemp("served") / "models"
    with deploy(world, redis_url, models, user_tradeoffs=True).serve() as running:
        yield running


def _shape(value: Any) -> Any:
    """Return ``value`` with the type of each number and text in its place."""
    if isinstance(value, dict):
        return {name: _shape(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_shape(entry) for entry in value]
    return "number" if isinstance(value, int | float) else type(value).__name__


def _fit(text: str, service: Running) -> str:
    """Return an example for the service and the model of the tests."""
    url = service.client.base_url
    return text.replace(ADDRESS, f"{url.host}:{url.port}").replace("cp2rec", "toy")


@pytest.mark.parametrize(("command", "shown"), REQUESTS)
def test_requests_are_answered_as_shown(command: str, shown: str, service: Running) -> None:
    done = subprocess.run(
        ["bash", "-ec", _fit(command, service)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    decoder, text, answers = json.JSONDecoder(), done.stdout, []
    while text:
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:]
    assert len(answers) == command.count("curl ")
    if shown:
        (answer,), example = answers, json.loads(shown)
        assert list(answer) == list(example)
        assert _shape(answer) == _shape(example)
        assert answer.get("error", {}).get("message") == example.get("error", {}).get("message")
        assert answer.get("tradeoff") == example.get("tradeoff")
    else:
        assert "error" not in answers[0]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_python_examples_run(number: int, service: Running, tmp_path: Path) -> None:
    shutil.copy(ROOT / "clients" / "python" / "paretorank_client.py", tmp_path)
    (tmp_path / "example.py").write_text(_fit(PROGRAMS[number], service))
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\bi\d{4}\b|^\[[\d. ]+\]$", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.skipif(
    not (CLIENT / "node_modules").is_dir(),
    reason="make test-clients sets up clients/typescript/node_modules",
)
def test_the_typescript_example_is_well_typed() -> None:
    (program,) = blocks(DOCS / "clients.md", "ts")
    (CLIENT / "build").mkdir(exist_ok=True)
    example = CLIENT / "build" / "example.ts"
    example.write_text(program.replace("./client.js", "../src/client.js"))
    options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext"]
    done = subprocess.run(
        ["node_modules/.bin/tsc", *options, str(example)],
        cwd=CLIENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_plan_of_an_experiment_is_valid() -> None:
    (plan,) = blocks(DOCS / "experiments.md", "toml")
    assert len(Plan.model_validate(tomllib.loads(plan)).arms) == 4


def _errors(kind: type[RankError] = RankError) -> Iterator[tuple[str, str]]:
    """Yield (status, code) of each error that is answered."""
    yield "other" if kind is FrameworkError else str(kind.status), kind.code
    for narrower in kind.__subclasses__() if kind is not StoreError else ():  # all are answered so
        yield from _errors(narrower)


def test_the_table_of_errors_is_that_of_the_code() -> None:
    section = (DOCS / "api.md").read_text().split("\n### Errors\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+|other) \| `(\w+)` \| .+ \|$", section, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == set(_errors())

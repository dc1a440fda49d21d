"""The whole path on simulated data: simulate, train, publish, serve, rank at three tradeoffs."""

from __future__ import annotations

import contextlib
import http
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from service.contract.artifact import Artifact, ArtifactError, open_artifact
from service.contract.files import check_folder
from service.contract.repository import Repository
from training.config import load_config
from training.data.dataset import Dataset, open_dataset
from training.data.simulate.simulate import simulate
from training.demo.local_redis import private_redis
from training.demo.look import Catalogue, Ranking, rankings_table
from training.demo.service import HOST, ask, choose_port, serving
from training.demo.titles import text_content
from training.errors import TrainingError
from training.evaluation.advice import share
from training.evaluation.report.origin import origin
from training.fitting.runs import RunStore
from training.pipeline import train
from training.release.publish import publish

MODEL = "cp2rec"
POLICY_WEIGHT = 0.4
TRADEOFFS = (0.0, 0.5, 1.0)
TOP_K = 10
USERS = 20  # of whom one is shown

log = logging.getLogger(__name__)


def run_demo(build: Path, *, port: int | None, once: bool, texts: bool = False) -> None:
    """Run the demo in ``build``; the data and the model of an earlier run are reused.

    Without ``port``, the service listens on the first free one from 8000 on. With ``texts``, items
    are made-up titles and their content is what a text encoder says of them. Raises TrainingError
    if ``port`` is taken or the service does not become ready.
    """
    free_port = choose_port(port)
    with served(build, free_port, texts=texts) as (service, artifact, dataset):
        _show(free_port, artifact, dataset)
        if not once:
            typer.echo("serving until Ctrl-C")
            with contextlib.suppress(KeyboardInterrupt):
                service.wait()


@contextlib.contextmanager
def served(
    build: Path, port: int, *, texts: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], Artifact, Dataset]]:
    """Serve the demo's model on ``port`` during the block; see ``run_demo``."""
    check_folder(build)
    artifact, dataset = _artifact(build, texts=texts)
    with _ended_by_sigterm(), private_redis() as url:
        log.info("[3/4] publishing to a private Redis")
        publish(artifact, dataset, url=url, namespace="rank")
        Repository(build / "models").promote(MODEL, artifact.version)
        log.info("[4/4] serving")
        with serving(build / "models", url, port) as service:
            yield service, artifact, dataset


def _artifact(build: Path, *, texts: bool) -> tuple[Artifact, Dataset]:
    """Return the demo's model and dataset, from ``build`` or newly made."""
    data, repository = build / ("texts" if texts else "data"), Repository(build / "models")
    if data.exists():
        log.info("[1/4] reusing the data of an earlier run in %s", data)
    else:
        log.info("[1/4] simulating a feed%s with a biased log", " of texts" if texts else "")
        simulate(data, source=text_content() if texts else None, policy_weight=POLICY_WEIGHT)
    dataset = open_dataset(data)
    if (earlier := reusable(repository, MODEL, dataset)) is not None:
        log.info("[2/4] reusing the model of an earlier run in %s", earlier.path)
        return earlier, dataset
    log.info("[2/4] training %s", MODEL)
    config, runs = load_config(MODEL), RunStore(build / "training")
    artifact, _ = train(dataset, config, repository, MODEL, runs, origin=origin(config))
    return artifact, dataset


def reusable(repository: Repository, name: str, dataset: Dataset) -> Artifact | None:
    """Return the newest version of ``name`` that was trained on ``dataset``, None without one.

    A version that this release cannot read, such as one of an earlier release, does not count.
    """
    for version in reversed(repository.versions(name)):
        try:
            artifact = open_artifact(repository.path(name, version))
        except ArtifactError as error:
            log.info("leaving a model of an earlier run aside: %s", error)
            continue
        if artifact.manifest.dataset.fingerprint == dataset.fingerprint:
            return artifact
    return None


def _show(port: int, artifact: Artifact, dataset: Dataset) -> None:
    """Print one user's rankings at three tradeoffs, and a command that requests one.

    It is the user, of the first ones, whose rankings at both ends have the fewest items in common.
    """
    catalogue, row_of = Catalogue.of(dataset), {id_: r for r, id_ in enumerate(dataset.item_ids)}

    def rank(user_id: str) -> list[Ranking]:
        bodies = [_body(user_id, w) for w in TRADEOFFS]
        answers = [_post(port, body)["items"] for body in bodies]
        return [[catalogue.place(row_of[i["item_id"]], i["score"]) for i in a] for a in answers]

    rankings = {user_id: rank(user_id) for user_id in dataset.user_ids[:USERS]}
    common = {
        user_id: len({p.title for p in ranks[0]} & {p.title for p in ranks[-1]})
        for user_id, ranks in rankings.items()
    }
    user_id = min(common, key=lambda user_id: common[user_id])
    typer.echo(f"\n{rankings_table(user_id, TRADEOFFS, rankings[user_id])}")
    shown = {point.tradeoff: point.shown for point in artifact.manifest.front.points}
    shares = [f"{share(1 - shown[w]['tail_share'].mean)} at {w:g}" for w in TRADEOFFS]
    typer.echo(
        f"Of the first {USERS} users, {user_id} is the one whose rankings differ most. Over all "
        f"users,\npopular items take this share of the first {TOP_K} places, by tradeoff: "
        f"{', '.join(shares)}"
    )
    address = f"http://{HOST}:{port}"
    body = json.dumps(_body(user_id, TRADEOFFS[1]))
    typer.echo(f"\nOpen the explorer and drag the tradeoff: {address}/#user={user_id}")
    typer.echo(f"API documentation: {address}/docs")
    typer.echo(f"curl -s {address}/rank -H 'content-type: application/json' -d '{body}'\n")


def _body(user_id: str, tradeoff: float) -> dict[str, Any]:
    return {"user_id": user_id, "tradeoff": tradeoff, "top_k": TOP_K}


def _post(port: int, body: dict[str, Any]) -> dict[str, Any]:
    status, answer = ask(port, "POST", "/rank", json.dumps(body))
    if status != http.HTTPStatus.OK:
        raise TrainingError(f"POST /rank answered {status}: {answer}")
    ranking: dict[str, Any] = json.loads(answer)
    return ranking


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exit, so that child processes end first."""

    def leave(signum: int, _frame: FrameType | None) -> None:
        sys.exit(128 + signum)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)

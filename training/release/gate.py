"""The gate of the champion: what a version has to show before it takes the champion's place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from service.contract.artifact import Artifact
from service.contract.keys import Keys
from training.errors import TrainingError
from training.evaluation.anchors.outcome import shortfall
from training.release.agreement import (
    offline_agreement,
    read_models,
    shadow_problem,
    too_low,
)
from training.release.parity import prove_service
from training.release.store import open_store


@dataclass(frozen=True)
class Demands:
    """The least share of the champion's items, and the least agreement with its rankings.

    ``service`` is the URL of a service that has compared at least ``compared`` rankings; without
    it, agreement is computed from the records in the store.
    """

    items: float
    agreement: float
    compared: int
    service: str | None = None
    key: str | None = None


def failed_checks(
    artifact: Artifact, champion: Artifact, demands: Demands, *, url: str, namespace: str
) -> list[str]:
    """Return a line for each check that ``artifact`` fails against the ``champion`` that serves.

    A check that cannot be made has failed.
    """
    checks: tuple[tuple[str, Callable[[], str | None]], ...] = (
        ("golden", lambda: prove_service(artifact.path)),
        ("anchors", lambda: _anchors(artifact)),
        ("items", lambda: _items(artifact, champion, demands.items, url, namespace)),
        ("agreement", lambda: _agreement(artifact, champion, demands, url, namespace)),
    )
    return list(_failures(checks))


def _failures(checks: tuple[tuple[str, Callable[[], str | None]], ...]) -> Iterator[str]:
    for name, check in checks:
        try:
            problem = check()
        except TrainingError as error:
            problem = str(error)
        if problem is not None:
            yield f"{name}: {problem}"


def _anchors(artifact: Artifact) -> str | None:
    anchors = artifact.manifest.front.anchors
    return None if anchors is None else shortfall(anchors)


def _items(
    artifact: Artifact, champion: Artifact, share: float, url: str, namespace: str
) -> str | None:
    with open_store(url) as client:
        counts = [
            int(client.scard(Keys(namespace, version.manifest.spaces).catalog))
            for version in (artifact, champion)
        ]
    if counts[0] >= share * counts[1]:
        return None
    return (
        f"Redis holds {counts[0]} items of {artifact.label} and {counts[1]} of {champion.label}, "
        f"less than --items {share:g} of them: publish it with the complete dataset"
    )


def _agreement(
    artifact: Artifact, champion: Artifact, demands: Demands, url: str, namespace: str
) -> str | None:
    if demands.service is not None:
        models = read_models(demands.service, demands.key)
        return shadow_problem(
            models,
            artifact,
            champion,
            agreement=demands.agreement,
            compared=demands.compared,
        )
    with open_store(url) as client:
        found = offline_agreement(client, namespace, artifact, champion)
    if found is None:
        return "not checked: both versions share too few users or items; compare them by --service"
    return too_low(found[0], champion, demands.agreement, f"{found[1]} rankings of stored users")

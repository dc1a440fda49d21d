"""What publishing refuses before it writes: a dataset or a store that would harm what serves."""

from __future__ import annotations

import logging

import polars as pl
import redis
from redis.exceptions import NoPermissionError

from service.contract.artifact import Artifact
from service.contract.attributes import item_codings
from training.data.dataset import Dataset
from training.data.items import Items
from training.errors import PublishError, TrainingError
from training.evaluation.anchors.outcome import shortfall
from training.release.parts import ITEMS
from training.release.store import Client

# A feed renews its items, so many may be new. If fewer than a tenth of the items are trained ones,
# the ids are rather those of another dataset, or are spelled differently.
LEAST_TRAINED = 0.1
# The alert CatalogueShrank fires below half of the items.
MOST_LEAVING = 0.5

log = logging.getLogger(__name__)


def check_modalities_and_proxies(
    artifact: Artifact, dataset: Items, error: type[TrainingError] = PublishError
) -> None:
    """Raise ``error`` unless the dataset has the modalities and proxies of the model.

    Item attributes must be numbers as they were in the model's training.
    """
    manifest = artifact.manifest
    expected = [(m.name, m.dim) for m in manifest.modalities if not m.learned]
    modalities = [(m.name, m.dim) for m in dataset.modalities]
    if expected != modalities:
        raise error(
            f"{artifact.label} was trained on modalities {expected}, {dataset.path} has "
            f"{modalities}"
        )
    codings = item_codings(artifact)
    if dataset.item_codings != codings:
        names = [coding.name for coding in codings]
        raise error(
            f"{artifact.label} was trained on item attributes {names}, {dataset.path} has "
            "other ones"
        )
    if manifest.proxies != dataset.proxy_fields:
        names = [proxy.name for proxy in manifest.proxies]
        raise error(
            f"{artifact.label} was trained on proxies {names}, {dataset.path} has other proxies"
        )


def check_trained(artifact: Artifact, dataset: Dataset) -> None:
    """Raise PublishError if hardly any item of the dataset was trained on.

    The share is that of the smaller side: of all items of the dataset, or of all trained items.
    """
    trained = set(
        pl.read_parquet(artifact.path / ITEMS, columns=["item_id"], glob=False)["item_id"]
    )
    common = sum(item_id in trained for item_id in dataset.item_ids)
    if common < LEAST_TRAINED * min(len(trained), len(dataset.item_ids)):
        raise PublishError(
            f"{artifact.label} was trained on {common} of the {len(dataset.item_ids)} items of "
            f"--data: is it the model's dataset? To publish it all the same, add --force"
        )


def check_anchors(artifact: Artifact) -> None:
    """Raise PublishError if the model is not proven better than a simple one."""
    anchors = artifact.manifest.front.anchors
    if anchors is not None and (problem := shortfall(anchors)) is not None:
        raise PublishError(f"{artifact.label}: {problem}; to publish it all the same, add --force")


def check_leaving(
    catalogue: str,
    items: int,
    leaving: int,
    problem: str = "are not in --data: is it complete?",
) -> None:
    """Raise PublishError if half or more of the ``items`` of a catalogue would leave it."""
    if items and leaving >= MOST_LEAVING * items:
        raise PublishError(
            f"{leaving} of the {items} items of {catalogue} {problem} To remove them, add --force"
        )


def check_eviction(client: Client) -> None:
    """Raise PublishError if the store evicts records when it is full.

    Without a memory limit it evicts nothing, and ``volatile-`` policies spare keys without expiry,
    as all records are.
    """
    try:
        if isinstance(client, redis.RedisCluster):
            primaries = client.get_primaries()
            nodes = [client.info("memory", target_nodes=node) for node in primaries]
        else:
            nodes = [client.info("memory")]
    except NoPermissionError:
        log.warning("this user may not read INFO: whether the store evicts records is unknown")
        return
    for memory in nodes:
        policy, limit = str(memory.get("maxmemory_policy", "")), int(memory.get("maxmemory", 0))
        if limit and policy.startswith("allkeys"):
            raise PublishError(
                f"--redis: the store evicts records when it is full (maxmemory-policy {policy}, "
                f"maxmemory {limit} bytes): set its maxmemory-policy to noeviction, or add "
                "--allow-eviction"
            )

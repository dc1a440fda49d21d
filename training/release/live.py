"""Live changes from tables: some items of a published model written or removed, the rest left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import redis
from tqdm import tqdm

from service.contract import titles
from service.contract.artifact import Artifact
from service.contract.keys import MAX_ID_CHARS, Keys
from service.contract.live_changes import LiveChange
from service.contract.records import encode
from training.data.items import Items
from training.errors import PublishError
from training.release import BATCH
from training.release.lease import lease
from training.release.publish import item_values
from training.release.safeguards import check_eviction, check_leaving, check_modalities_and_proxies
from training.release.store import Client, open_store


@dataclass(frozen=True)
class Changed:
    """The numbers of items written or removed, of those left alone, and of the catalogue now."""

    changed: int
    left: int
    listed: int


def add_items(
    artifact: Artifact,
    items: Items,
    *,
    url: str,
    namespace: str,
    only_listed: bool = False,
    batch: int = BATCH,
    allow_eviction: bool = False,
) -> Changed:
    """Write items with their proxies and titles; items that are not among them stay.

    only_listed: leave out those that the catalogue does not list. May be repeated. Raises
    PublishError as ``publish`` does, and where the model is not published yet.
    """
    check_modalities_and_proxies(artifact, items)
    embedding, mask = item_values(artifact, items)
    with _changing(artifact, url, namespace, "publish --add") as (client, keys, renew):
        if not allow_eviction:
            check_eviction(client)
        written = 0
        with tqdm(total=len(items.item_ids), desc="write items", unit=" rows") as bar:
            for start in range(0, len(items.item_ids), batch):
                rows = np.arange(start, min(start + batch, len(items.item_ids)))
                if only_listed:
                    flags = client.smismember(keys.catalog, [items.item_ids[r] for r in rows])
                    rows = rows[np.array(flags, np.bool_)]
                if len(rows):
                    item_ids = [items.item_ids[row] for row in rows]
                    shown = titles.encode([items.shown[row] for row in rows])
                    content = encode(embedding[rows], mask[rows])
                    proxies = encode(items.proxies[rows])
                    change = LiveChange(
                        keys=keys,
                        items=dict(zip(item_ids, content, strict=True)),
                        titles=dict(zip(item_ids, shown, strict=True)),
                        proxies=dict(zip(item_ids, proxies, strict=True)),
                    )
                    renew()
                    _write(client, change)
                    written += len(rows)
                bar.update(min(batch, len(items.item_ids) - start))
        return Changed(written, len(items.item_ids) - written, client.scard(keys.catalog))


def remove_items(
    artifact: Artifact,
    item_ids: Sequence[str],
    *,
    url: str,
    namespace: str,
    batch: int = BATCH,
    force: bool = False,
) -> Changed:
    """Remove items from the catalogue, with their records; those that it does not list are left.

    May be repeated. Raises PublishError as ``add_items`` does and, unless ``force``, if half of the
    catalogue would leave; all of it cannot.
    """
    with _changing(artifact, url, namespace, "publish --remove") as (client, keys, renew):
        chunks = [list(item_ids[start : start + batch]) for start in range(0, len(item_ids), batch)]
        flags = [client.smismember(keys.catalog, chunk) for chunk in chunks]
        listed = [
            [item_id for item_id, is_listed in zip(chunk, of_chunk, strict=True) if is_listed]
            for chunk, of_chunk in zip(chunks, flags, strict=True)
        ]
        leaving, size = sum(map(len, listed)), client.scard(keys.catalog)
        if leaving == size:
            raise PublishError(f"--remove: these are all {size} items of {artifact.label}")
        if not force:
            check_leaving(f"the catalogue of {artifact.label}", size, leaving, "would go.")
        for chunk in tqdm(listed, desc="remove items", unit=" batches"):
            if chunk:
                renew()
                _write(client, LiveChange(keys=keys, removed=chunk))
        return Changed(leaving, len(item_ids) - leaving, size - leaving)


def read_item_ids(path: Path) -> list[str]:
    """Return the distinct ids of a text file, one a line; raises PublishError for a bad one."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise PublishError(f"{path}: is not UTF-8 text: {error}") from error
    item_ids = dict.fromkeys(line.removesuffix("\r") for line in lines)
    item_ids.pop("", None)
    if not item_ids:
        raise PublishError(f"{path}: has no item id; write one a line")
    for item_id in item_ids:
        if len(item_id) > MAX_ID_CHARS:
            shown = f"{item_id[:20]}..."
            raise PublishError(f"{path}: the id {shown!r} has over {MAX_ID_CHARS} characters")
    return list(item_ids)


@contextlib.contextmanager
def _changing(
    artifact: Artifact, url: str, namespace: str, command: str
) -> Iterator[tuple[Client, Keys, Callable[[], None]]]:
    """Hold the spaces of a published model; yield client, keys and what renews the lease."""
    keys = Keys(namespace, artifact.manifest.spaces)
    held = (keys.spaces.items, keys.spaces.proxies)
    with open_store(url) as client, lease(client, keys, held, command) as renew:
        if not client.scard(keys.catalog):
            raise PublishError(
                f"{artifact.label} has no items in Redis: publish it first, with --data"
            )
        yield client, keys, renew


def _write(client: Client, change: LiveChange) -> None:
    """Write a change: in one transaction, in a cluster in parts."""
    pipeline = client.pipeline(transaction=True)
    records, unneeded = change.records(), change.unneeded()
    if isinstance(client, redis.RedisCluster):
        change.note(client)
        if records:
            client.mset_nonatomic(records)
        if unneeded:
            client.delete(*unneeded)
    else:
        change.note(pipeline)
        if records:
            pipeline.mset(records)
        if unneeded:
            pipeline.delete(*unneeded)
    change.finish(pipeline)
    pipeline.execute()

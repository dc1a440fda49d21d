"""Publishing: writes the user and item records of a model to Redis, resumable and idempotent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import redis
from numpy.typing import NDArray
from tqdm import tqdm

from service.contract import titles
from service.contract.artifact import Artifact
from service.contract.keys import Keys, user_mark
from service.contract.live_changes import announce, list_items
from service.contract.manifest import Spaces
from service.contract.records import encode, mask_bits
from service.contract.user_changes import announce_space_of_users
from training.data.dataset import Dataset
from training.data.items import Items
from training.errors import PublishError
from training.release import BATCH
from training.release.lease import lease
from training.release.parts import ITEMS, USERS
from training.release.safeguards import (
    check_eviction,
    check_leaving,
    check_modalities_and_proxies,
    check_trained,
)
from training.release.store import Client, open_store

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Published:
    """The numbers of users and items in the store, and of records written and removed."""

    users: int
    items: int
    written: int
    removed: int = 0


def publish(
    artifact: Artifact,
    dataset: Dataset,
    *,
    url: str,
    namespace: str,
    batch: int = BATCH,
    fresh: bool = False,
    force: bool = False,
    allow_eviction: bool = False,
    served: Spaces | None = None,
    on_complete: Callable[[Published], None] | None = None,
) -> Published:
    """Write proxies, items and users of ``artifact``, and announce changed items to services.

    The catalogue becomes the items of ``dataset``, cold ones included; all other items leave it.
    Users are those of the model's training, except those whom the service was asked to delete. A
    batch that is already stored with equal content is skipped, so an interrupted call can be
    repeated, and a repeated one writes nothing but what live changes have touched since; ``fresh``
    writes all batches again. Once the store holds every record, ``on_complete`` is called.

    One program at a time writes a space. Raises PublishError if another one does, if the store
    evicts records (unless ``allow_eviction``), fails or loses a record, if the dataset does not fit
    the model, and unless ``force``, if it lacks half of the catalogue, has half of the items of the
    spaces ``served`` until now, or hardly any item that the model was trained on.
    """
    check_modalities_and_proxies(artifact, dataset)
    if not force:
        check_trained(artifact, dataset)
    spaces = artifact.manifest.spaces
    keys = Keys(namespace, spaces)
    held = (spaces.items, spaces.users, spaces.proxies)
    values = item_values(artifact, dataset)  # before the lease begins, for it may take long
    users = pl.read_parquet(artifact.path / USERS, glob=False)
    with open_store(url) as client, lease(client, keys, held, "publish") as renew:
        if not allow_eviction:
            check_eviction(client)
        publisher = _Publisher(client, keys, batch, fresh, renew)
        leaving = publisher.leaving(dataset.item_ids)
        if not force:
            items = client.scard(keys.catalog)
            check_leaving(f"the catalogue of {artifact.label}", items, len(leaving))
            if served is not None:
                items = client.scard(Keys(namespace, served).catalog)
                fewer = max(items - len(dataset.item_ids), 0)
                check_leaving("the catalogue that serves now", items, fewer)
        published = publisher.run(dataset, values, users, leaving)
        if on_complete is not None:
            renew()
            on_complete(published)
        return published


class _Publisher:
    def __init__(
        self, client: Client, keys: Keys, batch: int, fresh: bool, renew: Callable[[], None]
    ) -> None:
        self._client = client
        self._keys = keys
        self._batch = batch
        self._fresh = fresh
        self._renew = renew
        self._written = 0

    def run(
        self,
        dataset: Dataset,
        values: tuple[Floats, NDArray[np.uint64]],
        users: pl.DataFrame,
        leaving: Sequence[bytes],
    ) -> Published:
        embedding, mask = values
        users = self._remaining(users)
        user_ids = users["user_id"].to_list()
        vectors = users["vector"].to_numpy()
        keys, spaces, item_ids = self._keys, self._keys.spaces, dataset.item_ids
        # Proxies first, users last: a reader that finds a record finds all that it refers to.
        self._write(
            "proxies",
            spaces.proxies,
            item_ids,
            keys.proxies,
            lambda rows: encode(dataset.proxies[rows]),
            self._announce_proxies,
        )
        self._write(
            "titles",
            spaces.items,
            item_ids,
            keys.titles,
            lambda rows: titles.encode(dataset.shown[rows]),
        )
        self._write(
            "items",
            spaces.items,
            item_ids,
            keys.items,
            lambda rows: encode(embedding[rows], mask[rows]),
            self._list_items,
        )
        self._write(
            "users",
            spaces.users,
            user_ids,
            keys.users,
            lambda rows: encode(vectors[rows]),
            self._announce_users,
        )
        self._check_all_stored("proxies", item_ids, keys.proxies)
        self._check_all_stored("titles", item_ids, keys.titles)
        self._check_all_stored("items", item_ids, keys.items)
        self._check_all_stored("users", user_ids, keys.users)
        self._remove(leaving)
        listed = self._client.scard(keys.catalog)
        if listed != len(item_ids):
            raise _lost("listed items", listed, len(item_ids))
        return Published(len(users), len(item_ids), self._written, len(leaving))

    def _remaining(self, users: pl.DataFrame) -> pl.DataFrame:
        """Return the users without those whom a live change has deleted."""
        deleted = self._client.smembers(self._keys.deleted_users)
        if not deleted:
            return users
        gone = [user_mark(user_id).encode() in deleted for user_id in users["user_id"]]
        return users.filter(~pl.Series(gone, dtype=pl.Boolean))

    def leaving(self, item_ids: Sequence[str]) -> list[bytes]:
        """Return the members of the catalogue that are not among ``item_ids``."""
        current = {item_id.encode() for item_id in item_ids}
        catalog = self._client.sscan_iter(self._keys.catalog, count=self._batch)
        return list({member for member in catalog if member not in current})

    def _check_all_stored(
        self, kind: str, ids: Sequence[str], keys: Callable[[Sequence[str]], list[str]]
    ) -> None:
        """Raise PublishError unless the store holds the records of all ``ids``."""
        stored = 0
        for start in tqdm(range(0, len(ids), self._batch), desc=f"check {kind}", unit=" batches"):
            self._renew()
            stored += self._client.exists(*keys(ids[start : start + self._batch]))
        if stored != len(ids):
            raise _lost(kind, stored, len(ids))

    def _remove(self, members: Sequence[bytes]) -> None:
        """Remove items from the catalogue, with their records."""
        for start in range(0, len(members), self._batch):
            chunk = members[start : start + self._batch]
            # A member that another program added need not be UTF-8.
            ids = [member.decode(errors="replace") for member in chunk]
            self._renew()
            pipeline = self._client.pipeline(transaction=True)
            pipeline.srem(self._keys.catalog, *chunk)
            pipeline.srem(self._keys.live(self._keys.spaces.items), *chunk)
            names = [*self._keys.items(ids), *self._keys.titles(ids)]
            if isinstance(self._client, redis.RedisCluster):
                self._client.delete(*names)
            else:
                pipeline.delete(*names)
            announce(pipeline, self._keys.item_changes, ids)
            pipeline.execute()

    def _write(
        self,
        kind: str,
        space: str,
        ids: list[str],
        keys: Callable[[Sequence[str]], list[str]],
        records: Callable[[slice], list[bytes]],
        tell: Callable[[redis.client.Pipeline, Sequence[str]], None] | None = None,
    ) -> None:
        """Write the records of ``ids`` in batches.

        One transaction holds a batch, its announcement, and the mark that it is written. In a
        cluster, records are on several nodes, so announcement and mark follow the records.
        """
        marks = self._keys.published(space)
        with tqdm(total=len(ids), desc=f"publish {kind}", unit=" rows", unit_scale=True) as bar:
            for start in range(0, len(ids), self._batch):
                rows = slice(start, min(start + self._batch, len(ids)))
                chunk = ids[rows]
                names = keys(chunk)
                packed = records(rows)
                mark = f"{kind}:{start}"
                if not self._holds(space, mark, chunk, names, packed):
                    self._renew()
                    pipeline = self._client.pipeline(transaction=True)
                    batch = dict(zip(names, packed, strict=True))
                    if isinstance(self._client, redis.RedisCluster):
                        self._client.mset_nonatomic(batch)
                    else:
                        pipeline.mset(batch)
                    if tell:
                        tell(pipeline, chunk)
                    pipeline.hset(marks, mark, _digest(names, packed))
                    pipeline.execute()
                    self._written += len(chunk)
                bar.update(len(chunk))

    def _holds(
        self, space: str, mark: str, ids: Sequence[str], names: Sequence[str], packed: list[bytes]
    ) -> bool:
        """Return whether the store holds this batch with equal content."""
        marked = self._client.hget(self._keys.published(space), mark)
        if self._fresh or marked != _digest(names, packed).encode():
            return False
        if any(self._client.smismember(self._keys.live(space), list(ids))):
            return False
        return self._client.exists(*names) == len(names)

    def _announce_proxies(self, pipeline: redis.client.Pipeline, ids: Sequence[str]) -> None:
        pipeline.srem(self._keys.live(self._keys.spaces.proxies), *ids)
        announce(pipeline, self._keys.proxy_changes, ids)

    def _announce_users(self, pipeline: redis.client.Pipeline, _: Sequence[str]) -> None:
        """Announce the whole space: to name millions of users would crowd out live changes."""
        announce_space_of_users(pipeline, self._keys.namespace, self._keys.spaces.users)

    def _list_items(self, pipeline: redis.client.Pipeline, ids: Sequence[str]) -> None:
        """Titles are in, so that nothing is left of live changes."""
        pipeline.srem(self._keys.live(self._keys.spaces.items), *ids)
        list_items(pipeline, self._keys, ids)


def item_values(artifact: Artifact, dataset: Items) -> tuple[Floats, NDArray[np.uint64]]:
    """Return embeddings (I, D + D_learned) and mask bits (I,): content, then learned features."""
    named = pl.col("item_id").is_in(dataset.item_ids)
    learned_table = pl.scan_parquet(artifact.path / ITEMS, glob=False).filter(named).collect()
    row_of = {item_id: row for row, item_id in enumerate(learned_table["item_id"])}
    rows = np.fromiter((row_of.get(i, -1) for i in dataset.item_ids), np.int64)
    warm = rows >= 0
    dim = artifact.manifest.modalities[-1].dim
    learned = np.zeros((len(rows), dim), np.float32)
    learned[warm] = learned_table["learned"].to_numpy()[rows[warm]]
    embedding = np.concatenate([dataset.embedding, learned], axis=1)
    return embedding, mask_bits(np.column_stack([dataset.modality_mask, warm]))


def _lost(kind: str, stored: int, total: int) -> PublishError:
    return PublishError(
        f"the store holds {stored} of {total} {kind} after all were written: it loses records, "
        "perhaps by eviction; no alias was moved"
    )


def _digest(names: Sequence[str], packed: Sequence[bytes]) -> str:
    """Return a hash of keys and records.

    The reserved bytes 16 to 24 of a binary record are left out: older ones have a time there.
    """
    digest = hashlib.sha256()
    for name, record in zip(names, packed, strict=True):
        content = record if record.startswith(b"{") else record[:16] + record[24:]
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()

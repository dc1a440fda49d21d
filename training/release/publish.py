"""Publishing: writes the user and item records of a model to Redis, resumable and idempotent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import redis
from numpy.typing import NDArray
from redis.backoff import ExponentialBackoff
from redis.cluster import ClusterNode
from redis.connection import parse_url
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel
from tqdm import tqdm

from service.contract.artifact import Artifact
from service.contract.keys import Keys
from service.contract.records import encode, mask_bits
from service.contract.store_url import parse, without_password
from training.data.dataset import Dataset
from training.errors import PublishError
from training.release.export import ITEMS, USERS

BATCH = 1000
# Entries of a change stream, of up to BATCH ids each. A service that missed one re-reads all items.
_STREAM_LENGTH = 10_000
_TIMEOUT_S = 10.0

Floats = NDArray[np.float32]
Client = redis.Redis | redis.RedisCluster


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
) -> Published:
    """Write proxies, items and users of ``artifact``, and announce changed items to services.

    The catalogue becomes the items of ``dataset``, cold ones included; all other items leave it.
    Users are those of the model's training. A batch that is already stored with equal content is
    skipped, so an interrupted call can be repeated, and a repeated one writes nothing; ``fresh``
    writes all batches again. Raises PublishError if the dataset does not fit the model, or Redis
    fails.
    """
    _check_fits(artifact, dataset)
    keys = Keys(namespace, artifact.manifest.spaces)
    try:
        with connect(url) as client:
            return _Publisher(client, keys, batch, fresh).run(artifact, dataset)
    except ValueError as error:
        raise PublishError(f"--redis {without_password(url)}: {error}") from error
    except (redis.RedisError, RedisClusterException) as error:
        raise PublishError(
            f"Redis at {without_password(url)}: {error}; run the same command to go on"
        ) from error


class _Publisher:
    def __init__(self, client: Client, keys: Keys, batch: int, fresh: bool) -> None:
        self._client = client
        self._keys = keys
        self._batch = batch
        self._fresh = fresh
        self._written = 0

    def run(self, artifact: Artifact, dataset: Dataset) -> Published:
        embedding, mask = item_values(artifact, dataset)
        users = pl.read_parquet(artifact.path / USERS)
        spaces = self._keys.spaces
        # Proxies first, users last: a reader that finds a record finds all that it refers to.
        self._write(
            "proxies",
            spaces.proxies,
            dataset.item_ids,
            self._keys.proxies,
            lambda rows: encode(dataset.proxies[rows]),
            lambda pipeline, ids: self._announce(pipeline, self._keys.proxy_changes, ids),
        )
        self._write(
            "items",
            spaces.items,
            dataset.item_ids,
            self._keys.items,
            lambda rows: encode(embedding[rows], mask[rows]),
            self._list_items,
        )
        vectors = users["vector"].to_numpy()
        self._write(
            "users",
            spaces.users,
            users["user_id"].to_list(),
            lambda ids: [self._keys.user(user_id) for user_id in ids],
            lambda rows: encode(vectors[rows]),
        )
        removed = self._remove_others(dataset.item_ids)
        return Published(len(users), len(dataset.item_ids), self._written, removed)

    def _remove_others(self, item_ids: Sequence[str]) -> int:
        """Remove the items that the dataset lacks from the catalogue; return their number."""
        current = {item_id.encode() for item_id in item_ids}
        catalog = self._client.sscan_iter(self._keys.catalog)
        removed = [member for member in catalog if member not in current]
        for start in range(0, len(removed), self._batch):
            members = removed[start : start + self._batch]
            # A member that another program added need not be UTF-8.
            ids = [member.decode(errors="replace") for member in members]
            pipeline = self._client.pipeline(transaction=True)
            pipeline.srem(self._keys.catalog, *members)
            if isinstance(self._client, redis.RedisCluster):
                self._client.delete(*self._keys.items(ids))
            else:
                pipeline.delete(*self._keys.items(ids))
            self._announce(pipeline, self._keys.item_changes, ids)
            pipeline.execute()
        return len(removed)

    def _write(
        self,
        kind: str,
        space: str,
        ids: list[str],
        keys: Callable[[Sequence[str]], list[str]],
        records: Callable[[slice], list[bytes]],
        announce: Callable[[redis.client.Pipeline, Sequence[str]], None] | None = None,
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
                if not self._holds(marks, mark, names, packed):
                    pipeline = self._client.pipeline(transaction=True)
                    batch = dict(zip(names, packed, strict=True))
                    if isinstance(self._client, redis.RedisCluster):
                        self._client.mset_nonatomic(batch)
                    else:
                        pipeline.mset(batch)
                    if announce:
                        announce(pipeline, chunk)
                    pipeline.hset(marks, mark, _digest(names, packed))
                    pipeline.execute()
                    self._written += len(chunk)
                bar.update(len(chunk))

    def _holds(self, marks: str, mark: str, names: Sequence[str], packed: Sequence[bytes]) -> bool:
        """Return whether the store holds this batch with equal content."""
        if self._fresh or self._client.hget(marks, mark) != _digest(names, packed).encode():
            return False
        return self._client.exists(*names) == len(names)

    def _list_items(self, pipeline: redis.client.Pipeline, ids: Sequence[str]) -> None:
        pipeline.sadd(self._keys.catalog, *ids)
        self._announce(pipeline, self._keys.item_changes, ids)

    def _announce(self, pipeline: redis.client.Pipeline, stream: str, ids: Sequence[str]) -> None:
        pipeline.xadd(stream, {"ids": "\n".join(ids)}, maxlen=_STREAM_LENGTH, approximate=True)


def item_values(artifact: Artifact, dataset: Dataset) -> tuple[Floats, NDArray[np.uint64]]:
    """Return embeddings (I, D + D_learned) and mask bits (I,): content, then learned features."""
    learned_table = pl.read_parquet(artifact.path / ITEMS)
    row_of = {item_id: row for row, item_id in enumerate(learned_table["item_id"])}
    rows = np.fromiter((row_of.get(i, -1) for i in dataset.item_ids), np.int64)
    warm = rows >= 0
    dim = artifact.manifest.modalities[-1].dim
    learned = np.zeros((len(rows), dim), np.float32)
    learned[warm] = learned_table["learned"].to_numpy()[rows[warm]]
    embedding = np.concatenate([dataset.embedding, learned], axis=1)
    return embedding, mask_bits(np.column_stack([dataset.modality_mask, warm]))


def _check_fits(artifact: Artifact, dataset: Dataset) -> None:
    manifest = artifact.manifest
    expected = [(m.name, m.dim) for m in manifest.modalities if not m.learned]
    modalities = [(m.name, m.dim) for m in dataset.modalities]
    if expected != modalities:
        raise PublishError(
            f"{artifact.label} was trained on modalities {expected}, --data has {modalities}"
        )
    if manifest.proxies != dataset.proxy_fields:
        names = [proxy.name for proxy in manifest.proxies]
        raise PublishError(
            f"{artifact.label} was trained on proxies {names}, --data has other proxies"
        )


def connect(url: str) -> Client:
    """Return a client of the store at ``url`` (see ``store_url``); ValueError for a bad one."""
    store = parse(url)
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": _TIMEOUT_S,
        "retry": Retry(ExponentialBackoff(), 3),
    }
    if store.kind == "server":
        return redis.Redis.from_url(store.url, **options)
    url_options = dict(parse_url(store.url))
    for name in (
        "host",
        "port",
        "connection_class",
    ):  # they name one server; the client discovers its own
        url_options.pop(name, None)
    url_options |= {"ssl": True} if store.tls else {}
    if store.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in store.nodes]
        return redis.RedisCluster(startup_nodes=nodes, **{**options, **url_options})
    tls = {name: value for name, value in url_options.items() if name.startswith("ssl")}
    sentinel = Sentinel(store.nodes, sentinel_kwargs={"socket_timeout": _TIMEOUT_S, **tls})
    primary: redis.Redis = sentinel.master_for(store.primary, **{**options, **url_options})
    return primary


def _digest(names: Sequence[str], packed: Sequence[bytes]) -> str:
    """Return a hash of keys and records.

    The reserved bytes 16 to 24 are left out: older publishers wrote a time there.
    """
    digest = hashlib.sha256()
    for name, record in zip(names, packed, strict=True):
        digest.update(name.encode() + b"\0" + record[:16] + record[24:])
    return digest.hexdigest()

"""Agreement of two versions' rankings: as a service's shadow found it, or from their records."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import polars as pl
import redis

from service.contract.artifact import Artifact, BiasReference
from service.contract.keys import Keys
from service.contract.measures import rank_biased_overlap
from service.contract.records import decode, mask_matrix
from training.arrays import Flags, Floats
from training.errors import PublishError
from training.release.parts import USERS, open_graphs
from training.release.store import Client

_TIMEOUT_S = 10.0
_ITEMS = 2000
_POOL = 200  # items of one ranking
_USERS = 200
_FEWEST_USERS = 20
_TOP = BiasReference.TOP


def read_models(url: str, key: str | None) -> list[dict[str, Any]]:
    """Return the models that ``GET /models`` of a service lists; raises PublishError if it fails.

    ``key`` is an API key, for a service that asks for one.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    address = url.rstrip("/") + "/models"
    if not address.startswith(("http://", "https://")):
        raise PublishError(f"--service {url!r}: should begin with http:// or https://")
    try:
        request = urllib.request.Request(address, headers=headers)  # noqa: S310  # checked above
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            models: list[dict[str, Any]] = json.load(answer)["models"]
    except urllib.error.HTTPError as error:
        mend = ": pass --key" if error.code in (401, 403) else ""
        raise PublishError(f"--service: {address} answers {error.code}{mend}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishError(f"--service: {address} cannot be read: {error}") from error
    return models


def shadow_problem(
    models: list[dict[str, Any]],
    artifact: Artifact,
    champion: Artifact,
    *,
    agreement: float,
    compared: int,
) -> str | None:
    """Return what a service's shadow rankings have against ``artifact`` as the next champion."""
    name, version = artifact.manifest.name, artifact.version
    shadows = [m.get("shadow") for m in models if (m["name"], m["version"]) == (name, version)]
    shadow = shadows[0] if shadows else None
    if not shadow or shadow["against"] != champion.label:
        return (
            f"the service does not compare {artifact.label} with {champion.label}: run "
            f"python -m training candidate {artifact.label}"
        )
    if shadow["failed"]:
        return f"{shadow['failed']} shadow rankings failed; the log of the service has the error"
    if shadow["compared"] < compared:
        return (
            f"the service has compared {shadow['compared']} rankings, fewer than {compared}: wait, "
            "raise the candidate's --shadow or lower --compared"
        )
    return too_low(shadow["agreement"], champion, agreement, f"{shadow['compared']} live rankings")


def too_low(actual: float, champion: Artifact, least: float, source: str) -> str | None:
    """Return a sentence if two versions agree less than they should."""
    if actual >= least:
        return None
    return (
        f"its rankings agree with those of {champion.label} by {actual:.2f} over {source}, less "
        f"than --agreement {least:g}"
    )


def offline_agreement(
    client: Client, namespace: str, artifact: Artifact, champion: Artifact
) -> tuple[float, int] | None:
    """Return the mean rank-biased overlap of two versions' first 10 places, and its rankings.

    Each of up to 200 users that both know ranks 200 items that both have records of, drawn with a
    fixed seed, at either version's default tradeoff. None if they share too few users or items.
    """
    keys = Keys(namespace, artifact.manifest.spaces)
    listed = itertools.islice(client.sscan_iter(keys.catalog, count=_ITEMS), _ITEMS)
    ids = sorted({member.decode(errors="replace") for member in listed})
    known = [_users(version) for version in (artifact, champion)]
    users = sorted(known[0].keys() & known[1].keys())
    versions = [_Version(client, namespace, version, ids) for version in (artifact, champion)]
    rows = np.flatnonzero(versions[0].held & versions[1].held)
    if len(users) < _FEWEST_USERS or len(rows) < 2 * _TOP:
        return None
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(users), min(_USERS, len(users)), replace=False)
    overlaps = []
    for number in drawn.tolist():
        pool = rng.choice(rows, min(_POOL, len(rows)), replace=False)
        left, right = (
            [ids[row] for row in version.top(vectors[users[number]], pool)]
            for version, vectors in zip(versions, known, strict=True)
        )
        overlaps.append(rank_biased_overlap(left, right))
    return float(np.mean(overlaps)), len(overlaps)


class _Version:
    """A version with the states of items (N, S), from its records; ``held`` (N,): it has one."""

    def __init__(self, client: Client, namespace: str, artifact: Artifact, ids: list[str]) -> None:
        manifest = artifact.manifest
        keys = Keys(namespace, manifest.spaces)
        self._run = open_graphs(artifact.path)
        self._tradeoff = np.array([manifest.default_tradeoff], np.float32)
        items = decode(_mget(client, keys.items(ids)), manifest.embedding_dim)
        proxies = decode(_mget(client, keys.proxies(ids)), len(manifest.proxies), allow_nan=True)
        self.held: Flags = items.present & ~items.corrupt
        unknown = ~proxies.present | proxies.corrupt
        feed = {
            "embedding": items.values,
            "modality_mask": mask_matrix(items.mask, len(manifest.modalities)),
            "proxies": np.where(unknown[:, None], np.float32(np.nan), proxies.values),
        }
        self._states: Floats = self._run["item_encoder"](None, feed)[0]

    def top(self, user: Floats, rows: np.ndarray[Any, np.dtype[np.int64]]) -> list[int]:
        """Return the first of ``rows`` for a user vector (U,), best first."""
        feed = {"user": user[None], "state": self._states[rows], "tradeoff": self._tradeoff}
        logits = self._run["ranker"](None, feed)[0]
        best: list[int] = rows[np.argsort(-logits, kind="stable")[:_TOP]].tolist()
        return best


def _users(artifact: Artifact) -> dict[str, Floats]:
    """Return the user vectors (U,) that training stored, by user id."""
    table = pl.read_parquet(artifact.path / USERS, glob=False)
    vectors = table["vector"].to_numpy()[:, : artifact.manifest.user_dim]
    return dict(zip(table["user_id"].to_list(), vectors, strict=True))


def _mget(client: Client, names: list[str]) -> list[bytes | None]:
    if isinstance(client, redis.RedisCluster):
        records: list[bytes | None] = client.mget_nonatomic(names)
        return records
    read: Any = client.mget(names) if names else []
    return list(read)

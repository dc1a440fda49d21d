"""Item states from the item and proxy records of the store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.contract.artifact import Artifact
from service.contract.records import decode, mask_matrix
from service.telemetry import Telemetry

log = logging.getLogger(__name__)


class ItemEncoder(Protocol):
    """The item encoder of one artifact."""

    artifact: Artifact

    def encode_items(
        self,
        embedding: NDArray[np.float32],
        modality_mask: NDArray[np.float32],
        proxies: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return states (N, S) of embedding (N, D), modality_mask (N, M), proxies (N, P)."""


@dataclass(frozen=True)
class Encoded:
    """States (K, S) and cold flags (K,) of the K items that ``valid`` (N,) marks."""

    valid: NDArray[np.bool_]
    states: NDArray[np.float32]
    cold: NDArray[np.bool_]


def encode_items(
    encoder: ItemEncoder,
    telemetry: Telemetry,
    item_ids: Sequence[str],
    records: Sequence[bytes | None],
    proxy_records: Sequence[bytes | None],
) -> Encoded:
    """Decode and encode the records of N items.

    An item is valid if its record is valid and its state is finite. An item without a valid proxy
    record is encoded with unknown proxies (NaN).
    """
    manifest = encoder.artifact.manifest
    items = decode(records, manifest.embedding_dim)
    proxies = decode(proxy_records, len(manifest.proxies), allow_nan=True)
    proxies.values[~proxies.present | proxies.corrupt] = np.nan
    valid = items.present & ~items.corrupt
    mask = mask_matrix(items.mask[valid], len(manifest.modalities))
    states = encoder.encode_items(items.values[valid], mask, proxies.values[valid])
    # One state that is not finite would spoil the order of all items.
    finite = np.isfinite(states).all(axis=1)
    states = states[finite]
    valid[valid] = finite
    for record, corrupt in (("item", items.present & ~valid), ("proxy", proxies.corrupt)):
        if corrupt.any():
            count = int(corrupt.sum())
            telemetry.corrupt_records.labels(record).inc(count)
            first = item_ids[int(corrupt.argmax())]
            log.warning(
                "%s: %d corrupt %s records, the first for item %r; publish again with --fresh",
                *(encoder.artifact.label, count, record, first),
            )
    return Encoded(valid, states, (items.mask[valid] & np.uint64(manifest.learned_mask)) == 0)

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

    def encode_histories(
        self, embedding: NDArray[np.float32], modality_mask: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return traces (N, H) of embedding (N, D), modality_mask (N, M)."""


@dataclass(frozen=True)
class Encoded:
    """States (K, S), traces (K, H) and cold flags (K,) of the K items that ``valid`` (N,) marks."""

    valid: NDArray[np.bool_]
    states: NDArray[np.float32]
    traces: NDArray[np.float32]
    cold: NDArray[np.bool_]


def encode_items(
    encoder: ItemEncoder,
    telemetry: Telemetry,
    item_ids: Sequence[str],
    records: Sequence[bytes | None],
    proxy_records: Sequence[bytes | None],
    *,
    traced: bool = False,
) -> Encoded:
    """Decode and encode the records of N items; ``traced``: with their traces, else H is 0.

    An item is valid if its record is valid and its state and trace are finite. An item without a
    valid proxy record is encoded with unknown proxies (NaN).
    """
    manifest = encoder.artifact.manifest
    items = decode(records, manifest.embedding_dim)
    proxies = decode(proxy_records, len(manifest.proxies), allow_nan=True)
    proxies.values[~proxies.present | proxies.corrupt] = np.nan
    valid = items.present & ~items.corrupt
    mask = mask_matrix(items.mask[valid], len(manifest.modalities))
    embedding = items.values[valid]
    states = encoder.encode_items(embedding, mask, proxies.values[valid])
    traces = np.zeros((len(states), 0), np.float32)
    if traced:
        traces = encoder.encode_histories(embedding, mask)
    # One state that is not finite would spoil the order of all items.
    finite = np.isfinite(states).all(axis=1) & np.isfinite(traces).all(axis=1)
    states, traces = states[finite], traces[finite]
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
    cold = (items.mask[valid] & np.uint64(manifest.learned_mask)) == 0
    return Encoded(valid, states, traces, cold)

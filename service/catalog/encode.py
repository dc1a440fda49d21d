"""From what the store holds of items to their states."""

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
    """States (K, S) and whether cold (K,) of the K of N items that ``fine`` (N,) marks."""

    fine: NDArray[np.bool_]
    states: NDArray[np.float32]
    cold: NDArray[np.bool_]


def encode_items(
    encoder: ItemEncoder,
    telemetry: Telemetry,
    item_ids: Sequence[str],
    records: Sequence[bytes | None],
    proxy_records: Sequence[bytes | None],
) -> Encoded:
    """Decode and encode the records of N items; those absent or refused are not ``fine``."""
    manifest = encoder.artifact.manifest
    items = decode(records, manifest.embedding_dim)
    proxies = decode(proxy_records, len(manifest.proxies), allow_nan=True)
    proxies.values[~proxies.present | proxies.corrupt] = np.nan
    fine = items.present & ~items.corrupt
    mask = mask_matrix(items.mask[fine], len(manifest.modalities))
    states = encoder.encode_items(items.values[fine], mask, proxies.values[fine])
    # One row that is not finite would spoil the order of all others.
    finite = np.isfinite(states).all(axis=1)
    states = states[finite]
    fine[fine] = finite
    for what, refused in (("item", items.present & ~fine), ("proxy", proxies.corrupt)):
        if refused.any():
            telemetry.corrupt_records.labels(what).inc(int(refused.sum()))
            first = item_ids[int(refused.argmax())]
            log.warning("%s: refused the %s record of %r", encoder.artifact.label, what, first)
    return Encoded(fine, states, (items.mask[fine] & np.uint64(manifest.learned_mask)) == 0)

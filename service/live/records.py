"""Validated items as records of each loaded model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from service.contract import titles
from service.contract.attributes import ATTRIBUTES, Coding
from service.contract.keys import Keys
from service.contract.live_changes import LiveChange
from service.contract.manifest import Manifest, Proxy
from service.contract.records import MAX_VALUE, decode, encode, mask_bits, mask_matrix
from service.contract.titles import ItemTitle
from service.live.messages import MoveProxies, PutItem, refusal, scalar, vector

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

_MAX_PROXY = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Target:
    """A model whose records change."""

    label: str
    keys: Keys
    manifest: Manifest
    codings: tuple[Coding, ...] = ()


@dataclass(frozen=True)
class Put:
    """Items to put: content (N, D) with zeros for learned blocks, and which modalities (N, M)."""

    item_ids: list[str]
    titles: list[bytes]
    values: Floats
    present: Flags

    def encoded(self, manifest: Manifest, old: Sequence[bytes | None]) -> list[bytes]:
        """Return item records (N,); what the model learned of an item stays, from its ``old`` one.

        Every other modality is as it was put.
        """
        values, present = self.values.copy(), self.present.copy()
        records = decode(old, manifest.embedding_dim)
        had = mask_matrix(records.mask, len(manifest.modalities)) > 0
        for index, columns in _blocks(manifest, learned=True):
            present[:, index] = had[:, index]
            values[:, columns] = np.where(had[:, [index]], records.values[:, columns], 0.0)
        return encode(values, mask_bits(present))


@dataclass(frozen=True)
class Moved:
    """New proxies: values (N, P), NaN where unknown, and which of them are ``given`` (N, P)."""

    item_ids: list[str] = field(default_factory=list)
    values: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    given: Flags = field(default_factory=lambda: np.zeros((0, 0), np.bool_))

    def encoded(self, rows: Sequence[int], old: Sequence[bytes | None]) -> list[bytes]:
        """Return the proxy records of ``rows`` (R,): ``old`` (R,) with the values that are given.

        Without a valid old record, the others are unknown.
        """
        records = decode(old, self.values.shape[1], allow_nan=True)
        records.values[~records.present | records.corrupt] = np.nan
        if not rows:
            return []
        chosen = np.asarray(rows, np.int64)
        return encode(np.where(self.given[chosen], self.values[chosen], records.values))


@dataclass(frozen=True)
class Plan:
    """What to write for a model: items, unless another plan writes them, and proxies."""

    target: Target
    put: Put | None
    moved: Moved

    def names(self) -> list[str]:
        """Return the keys of the records that the change has to know."""
        keys = self.target.keys
        put_ids = [] if self.put is None else self.put.item_ids
        return [*keys.items(put_ids), *keys.proxies(self.moved.item_ids)]

    def change(
        self, old: Mapping[str, bytes | None], only: frozenset[str] | None = None
    ) -> LiveChange:
        """Return the change; ``old`` are the records before, by key.

        only: the items whose proxies are written, None for all.
        """
        keys, put, moved = self.target.keys, self.put, self.moved
        known = [old[name] is not None for name in keys.proxies(moved.item_ids)]
        # An item without a record gets one: it is then counted live.
        wanted = moved.given.any(axis=1) | ~np.array(known, np.bool_)
        rows = [
            n for n, i in enumerate(moved.item_ids) if wanted[n] and (only is None or i in only)
        ]
        moved_ids = [moved.item_ids[row] for row in rows]
        proxies = moved.encoded(rows, [old[name] for name in keys.proxies(moved_ids)])
        of_proxies = dict(zip(moved_ids, proxies, strict=True))
        if put is None:
            return LiveChange(keys=keys, proxies=of_proxies)
        items = put.encoded(self.target.manifest, [old[name] for name in keys.items(put.item_ids)])
        return LiveChange(
            keys=keys,
            items=dict(zip(put.item_ids, items, strict=True)),
            titles=dict(zip(put.item_ids, put.titles, strict=True)),
            proxies=of_proxies,
        )


def put_of(target: Target, items: Sequence[PutItem]) -> Put:
    """Return the items as ``target`` has them; raises InvalidRequestError naming a bad value.

    A modality that ``target`` does not have is left to ``check_names``.
    """
    manifest = target.manifest
    values = np.zeros((len(items), manifest.embedding_dim), np.float32)
    present = np.zeros((len(items), len(manifest.modalities)), np.bool_)
    for index, columns in _blocks(manifest, learned=False):
        name = manifest.modalities[index].name
        dim = columns.stop - columns.start
        if name == ATTRIBUTES and target.codings:
            values[:, columns], present[:, index] = _attributes(target, items)
        for row, item in enumerate(items):
            if (raw := item.vectors.get(name)) is not None:
                place = f"items.{row}.vectors.{name}"
                values[row, columns] = _vector(vector(raw, place), dim, target, place)
                present[row, index] = True
    shown = [ItemTitle(i.title or i.item_id, i.picture or None, i.link or None) for i in items]
    return Put([item.item_id for item in items], titles.encode(shown), values, present)


def moved_of(target: Target, items: Sequence[PutItem | MoveProxies]) -> Moved:
    """Return the proxies that the items give; raises InvalidRequestError.

    A proxy that ``target`` does not have is left to ``check_names``.
    """
    proxies = target.manifest.proxies
    values = np.full((len(items), len(proxies)), np.nan, np.float32)
    given = np.zeros((len(items), len(proxies)), np.bool_)
    for index, proxy in enumerate(proxies):
        for row, item in enumerate(items):
            if (raw := item.proxies.get(proxy.name)) is not None:
                place = f"items.{row}.proxies.{proxy.name}"
                values[row, index] = _proxy(scalar(raw, place), proxy, target, place)
                given[row, index] = True
    return Moved([item.item_id for item in items], values, given)


def check_names(targets: Sequence[Target], items: Sequence[PutItem | MoveProxies]) -> None:
    """Raise InvalidRequestError for a modality, an attribute or a proxy that no target has."""
    manifests = [target.manifest for target in targets]
    modalities = {m.name for manifest in manifests for m in manifest.modalities if not m.learned}
    proxies = {proxy.name for manifest in manifests for proxy in manifest.proxies}
    attributes = {coding.name for target in targets for coding in target.codings}
    all_known = (("vectors", modalities), ("attributes", attributes), ("proxies", proxies))
    for row, item in enumerate(items):
        for kind, known in all_known:
            for name in getattr(item, kind, ()):
                if name not in known:
                    listed = ", ".join(sorted(known)) or "none"
                    reason = f"no loaded model has it; there are {listed}"
                    raise refusal(f"items.{row}.{kind}.{name}", reason)


def _blocks(manifest: Manifest, *, learned: bool) -> Iterator[tuple[int, slice]]:
    """Yield index and columns of the modalities that are learned by item id, or of the others."""
    ends = list(itertools.accumulate(modality.dim for modality in manifest.modalities))
    for index, modality in enumerate(manifest.modalities):
        if modality.learned == learned:
            yield index, slice(ends[index] - modality.dim, ends[index])


def _vector(numbers: list[float], dim: int, target: Target, place: str) -> Floats:
    if len(numbers) != dim:
        reason = f"has {len(numbers)} numbers, {target.label} needs {dim}"
        raise refusal(place, reason)
    values = np.array(numbers)
    beyond = ~(np.abs(values) <= MAX_VALUE)
    if beyond.any():
        at = int(beyond.argmax())
        reason = f"{numbers[at]:g} is beyond {MAX_VALUE:g}: scale the vectors"
        raise refusal(f"{place}.{at}", reason)
    return values.astype(np.float32)


def _attributes(target: Target, items: Sequence[PutItem]) -> tuple[Floats, Flags]:
    """Return the modality of item attributes (N, dim), and which items (N,) have any value."""
    known = np.zeros(len(items), np.bool_)
    blocks = []
    for coding in target.codings:
        given = [_attribute(item.attributes, row, coding, target) for row, item in enumerate(items)]
        has = np.array([value is not None for value in given])
        if coding.numeric:
            numbers = np.array([np.nan if value is None else value for value in given], np.float64)
            blocks.append(coding.standardised(numbers)[:, None])
        else:
            codes, others = coding.codes(), len(coding.categories)
            blocks.append(coding.one_hot(np.array([codes.get(str(v), others) for v in given]), has))
        known |= has
    return np.concatenate(blocks, axis=1).astype(np.float32), known


def _attribute(
    attributes: Mapping[str, Raw], row: int, coding: Coding, target: Target
) -> float | str | None:
    """Return an attribute's value, None if it is unknown."""
    if (raw := attributes.get(coding.name)) is None:
        return None
    place = f"items.{row}.attributes.{coding.name}"
    value = scalar(raw, place)
    if value is not None and isinstance(value, str) == coding.numeric:
        kind = "a number" if coding.numeric else "a text"
        raise refusal(place, f"{target.label} needs {kind} or null")
    return value


def _proxy(value: float | str | None, proxy: Proxy, target: Target, place: str) -> float:
    """Return a proxy's value as a record has it: a number, or the index of a category."""
    if value is None:
        return float("nan")
    if proxy.kind == "categorical":
        if value not in proxy.categories:
            known = ", ".join(proxy.categories)
            shown = msgspec.json.encode(value).decode()
            raise refusal(place, f"{shown} is no category of {target.label}: write one of {known}")
        return float(proxy.categories.index(str(value)))
    if isinstance(value, str):
        raise refusal(place, f"{target.label} needs a number or null")
    if not abs(value) <= _MAX_PROXY:
        raise refusal(place, f"{value:g} is beyond the range of 32-bit floats")
    return value

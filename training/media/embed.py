"""From the media of items to a modality of a dataset, in batches that outlive an interrupt."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from service.contract.files import check_folder, locked
from service.contract.records import MAX_VALUE
from training.errors import DatasetError
from training.media.encoder import Encoder, MediumError
from training.media.sources import Source
from training.media.vectors import Norms, Vectors, digest

log = logging.getLogger(__name__)

_LISTED = 20  # items that the log names


@dataclass(frozen=True)
class Embedded:
    """What ``embed`` wrote: ``encoded`` items now, ``known`` ones from earlier runs.

    ``left_out`` items have no vector.
    """

    array: Path
    ids: Path
    encoded: int
    known: int
    left_out: int
    norms: Norms


@dataclass
class _Item:
    index: int
    digest: bytes
    content: bytes
    input: Any = None
    problem: str | None = None


@dataclass
class _Progress:
    digests: dict[int, bytes] = field(default_factory=dict)  # of the items with a vector
    problems: dict[int, str] = field(default_factory=dict)
    encoded: int = 0


def embed(
    source: Source,
    encoder: Encoder,
    out: Path,
    name: str,
    *,
    batch: int = 32,
    leave_out: bool = False,
) -> Embedded:
    """Write the vectors of ``source`` as ``out/<name>.npy`` (n, D) and ``out/<name>.ids.txt``.

    Items whose content ``encoder`` has encoded before, in an interrupted or an earlier run, keep
    their vectors. Raises DatasetError at the end, with all vectors so far kept, for items that
    cannot be encoded, or if ``leave_out`` where no item can.
    """
    check_folder(out)
    with _folder(out), locked(out / f".{name}", _waiting):
        vectors, done = Vectors(out, name, encoder.key), _Progress()
        with (
            tqdm(total=len(source.item_ids), desc=f"embed {name}", unit=" items") as bar,
            ThreadPoolExecutor() as threads,
        ):
            for items in _batches(source, vectors, done, batch, bar):
                _encode(items, encoder, vectors, done, threads)
                bar.update(len(items))
        _report(source, done, leave_out=leave_out)
        rows = sorted(done.digests)
        norms = vectors.write([source.item_ids[i] for i in rows], [done.digests[i] for i in rows])
        return Embedded(
            array=vectors.array,
            ids=vectors.ids,
            encoded=done.encoded,
            known=len(rows) - done.encoded,
            left_out=len(done.problems),
            norms=norms,
        )


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder; a block that fails leaves no empty one."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # it is not empty
            path.rmdir()
        raise


def _batches(
    source: Source, vectors: Vectors, done: _Progress, size: int, bar: Any
) -> Iterator[list[_Item]]:
    """Yield the items whose vectors are not known yet."""
    items: list[_Item] = []
    for index in source.order:
        content = source.content(index)
        value = digest(content)
        if value in vectors:
            done.digests[index] = value
            bar.update()
            continue
        items.append(_Item(index, value, content))
        if len(items) == size:
            yield items
            items = []
    if items:
        yield items


def _encode(
    items: list[_Item], encoder: Encoder, vectors: Vectors, done: _Progress, threads: Executor
) -> None:
    """Encode items and note their vectors or problems."""

    def prepare(item: _Item) -> None:
        try:
            if not item.content.strip():
                raise MediumError("is empty; fill it or remove it")
            item.input = encoder.prepare(item.content)
        except MediumError as error:
            item.problem = str(error)

    list(threads.map(prepare, items))
    ready = [item for item in items if item.problem is None]
    if ready:
        values = encoder.encode([item.input for item in ready])  # (n, D)
        usable = (np.abs(values) <= MAX_VALUE).all(axis=1) & values.any(axis=1)  # False for NaN
        for item in (ready[row] for row in np.flatnonzero(~usable)):
            item.problem = (
                f"gets a vector that is zero, not finite or beyond {MAX_VALUE:g} from "
                f"{encoder.label}; replace it, or mend the encoder's description"
            )
        good = [ready[row] for row in np.flatnonzero(usable)]
        vectors.append([item.digest for item in good], values[usable])
        done.digests.update((item.index, item.digest) for item in good)
        done.encoded += len(good)
    done.problems.update((item.index, item.problem) for item in items if item.problem)


def _report(source: Source, done: _Progress, *, leave_out: bool) -> None:
    """Log the items that cannot be encoded; raise DatasetError unless they may be left out."""
    refusals = [source.refusal(index, done.problems[index]) for index in sorted(done.problems)]
    may_go_on = leave_out and bool(done.digests)
    listed = refusals if may_go_on else refusals[1:]
    for refusal in listed[:_LISTED]:
        log.warning("%s%s", "left out: " if may_go_on else "", refusal)
    if len(listed) > _LISTED:
        log.warning("and %d more", len(listed) - _LISTED)
    if refusals and not may_go_on:
        first, number = refusals[0], len(refusals)
        count = "it is the only one" if number == 1 else f"they are {number}"
        problem = f"{first.problem}; --leave-out leaves such items without a vector ({count})"
        raise DatasetError(first.file, problem, column=first.column, row=first.row)


def _waiting(lock: Path) -> None:
    log.info("waiting for another process that holds %s", lock)

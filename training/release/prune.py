"""Pruning: removes the records that no alias of a model repository needs any more."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tqdm import tqdm

from service.contract.alias_moves import former_version
from service.contract.artifact import open_artifact
from service.contract.keys import KeyParts, Keys, split_key
from service.contract.manifest import Spaces
from service.contract.repository import ALIASES, Repository
from training.errors import PublishError
from training.release.lease import SpaceHeldError, holder, lease
from training.release.store import Client, open_store

_BATCH = 1000
_OF_ITEMS = {"i": "items", "t": "titles of items", "p": "proxies of items"}  # by kind of key
_GLOB = str.maketrans({character: f"\\{character}" for character in "\\*?[]^-"})


@dataclass(frozen=True)
class Kept:
    """The spaces that must stay, by what they hold; ``catalogs`` has the items spaces of proxies.

    A key is needed if its space is kept. An item record is needed if the catalogue of its space
    lists it, a proxy record if any catalogue of its space's models does.
    """

    items: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    catalogs: dict[str, frozenset[str]] = field(default_factory=dict)

    def keeps(self, parts: KeyParts) -> bool:
        """Return whether the space of a key stays."""
        match parts.kind:
            case "u":
                return parts.space in self.users
            case "i" | "t" | "catalog" | "changes":
                return parts.space in self.items
            case "p" | "proxy-changes":
                return parts.space in self.catalogs
            case _:
                return parts.space in self.items | self.users | self.catalogs.keys()


@dataclass
class Unneeded:
    """Keys of one space that can go for one ``reason``; ``holder`` is changing the space now.

    The numbers are approximate: a scan may meet a key twice.
    """

    space: str
    reason: str
    keys: int = 0
    size_bytes: int = 0
    holder: str | None = None


@dataclass(frozen=True)
class Removed:
    """The number of keys removed, and a sentence for each space that was left alone."""

    keys: int
    skipped: list[str]


def kept_spaces(repository: Repository) -> Kept:
    """Return the spaces of all versions that aliases name, and of those they can roll back to.

    A model without ``aliases.json`` keeps all its versions: they may not be promoted yet, or the
    file may be lost. Raises PublishError if no alias is there at all, and ArtifactError if a
    version cannot be read.
    """
    root = repository.root
    versions = [(n, v) for n in repository.names() for v in repository.versions(n)]
    aliased = {path.parent.name for path in root.glob(f"*/{ALIASES}")}
    named = [(name, version) for name in aliased for version in repository.aliases(name).values()]
    if not named:
        raise PublishError(
            f"--models {root}: no alias is there, so all records would go: name the repository "
            "that the services read"
        )
    kept = {*named, *(version for version in versions if version[0] not in aliased)}
    for name in aliased:
        former = {former_version(repository, name, alias) for alias in repository.aliases(name)}
        kept |= {(name, version) for version in repository.versions(name) if version in former}
    spaces = [open_artifact(repository.path(*version)).manifest.spaces for version in kept]
    catalogs: dict[str, frozenset[str]] = {}
    for space in spaces:
        catalogs[space.proxies] = catalogs.get(space.proxies, frozenset()) | {space.items}
    return Kept(
        frozenset(space.items for space in spaces),
        frozenset(space.users for space in spaces),
        catalogs,
    )


def find_unneeded(url: str, namespace: str, repository: Repository) -> list[Unneeded]:
    """Return what no alias of ``repository`` needs, by space; changes nothing.

    Raises PublishError if the store fails, and as ``kept_spaces``.
    """
    kept = kept_spaces(repository)
    entries: dict[tuple[str, str], Unneeded] = {}
    with open_store(url) as client:
        scan = _Scan(client, namespace, kept)
        for batch in scan.batches():
            reasons = scan.reasons(batch)
            pipeline = client.pipeline(transaction=False)
            for key in reasons:
                pipeline.memory_usage(key)
            for (key, reason), size_bytes in zip(reasons.items(), pipeline.execute(), strict=True):
                space = batch[key].space
                entry = entries.setdefault((space, reason), Unneeded(space, reason))
                entry.keys += 1
                entry.size_bytes += size_bytes or 0
        for entry in entries.values():
            entry.holder = holder(client, _keys(namespace, entry.space), entry.space)
    return sorted(entries.values(), key=lambda entry: (entry.space, entry.reason))


def remove_unneeded(
    url: str, namespace: str, repository: Repository, spaces: Iterable[str]
) -> Removed:
    """Remove what no alias of ``repository`` needs of ``spaces``; repeat an interrupted call.

    A space that another program is changing is left alone. Raises PublishError if the store fails,
    and as ``kept_spaces``.
    """
    keys, skipped = 0, []
    with open_store(url) as client:
        for space in sorted(set(spaces)):
            try:
                with lease(client, _keys(namespace, space), [space], "prune") as renew:
                    # Read the aliases again: now that the space is held, nobody publishes it.
                    scan = _Scan(client, namespace, kept_spaces(repository), space)
                    for batch in scan.batches():
                        pipeline = client.pipeline(transaction=False)
                        for key in scan.reasons(batch):
                            pipeline.unlink(key)
                        renew()
                        keys += sum(pipeline.execute())
            except SpaceHeldError as error:
                skipped.append(str(error))
    return Removed(keys, skipped)


class _Scan:
    """The keys of a namespace, or of one space of it, and why each is not needed."""

    def __init__(
        self, client: Client, namespace: str, kept: Kept, space: str | None = None
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._kept = kept
        self._space = space

    def batches(self) -> Iterator[dict[bytes, KeyParts]]:
        """Yield the keys of spaces, about 1,000 at a time."""
        with tqdm(desc=f"scan {self._space or self._namespace}", unit=" keys") as bar:
            for prefix in (self._namespace, f"{{{self._namespace}}}"):
                pattern = f"{prefix}:{self._space or ''}".translate(_GLOB)
                pattern += ":*" if self._space else "*"
                scanned = self._client.scan_iter(match=pattern, count=_BATCH)
                while names := list(itertools.islice(scanned, _BATCH)):
                    parts = {name: split_key(self._namespace, name) for name in names}
                    bar.update(len(names))
                    yield {
                        name: part
                        for name, part in parts.items()
                        if part is not None and part.kind != "publishing"
                    }

    def reasons(self, batch: dict[bytes, KeyParts]) -> dict[bytes, str]:
        """Return the keys that are not needed, with the reason."""
        reasons = {
            key: "no alias names it" for key, parts in batch.items() if not self._kept.keeps(parts)
        }
        groups: dict[tuple[str, str], list[bytes]] = {}
        for key, parts in batch.items():
            if key not in reasons and parts.kind in _OF_ITEMS:
                groups.setdefault((parts.space, parts.kind), []).append(key)
        for (space, kind), names in groups.items():
            catalogs = self._kept.catalogs[space] if kind == "p" else {space}
            ids = [batch[name].record_id for name in names]
            listed = [self._listed(items, ids) for items in catalogs]
            for name, *flags in zip(names, *listed, strict=True):
                if not any(flags):
                    reasons[name] = f"{_OF_ITEMS[kind]} that no catalogue lists"
        return reasons

    def _listed(self, items: str, ids: list[bytes | None]) -> list[bool]:
        """Return whether the catalogue of ``items`` lists each id.

        A lost catalogue lists nothing, which says nothing about its items: all count as listed.
        """
        catalog = _keys(self._namespace, items).catalog
        pipeline = self._client.pipeline(transaction=True)
        pipeline.scard(catalog)
        pipeline.smismember(catalog, ids)
        size, members = pipeline.execute()
        return [not size or bool(member) for member in members]


def _keys(namespace: str, space: str) -> Keys:
    return Keys(namespace, Spaces(items=space, users=space, proxies=space))

"""Live changes from the body of a request to the records of every loaded model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from pydantic import ValidationError

from service.contract.artifact import MANIFEST, ArtifactError
from service.contract.keys import Keys
from service.contract.live_changes import LiveChange
from service.contract.manifest import Manifest
from service.contract.repository import Repository
from service.errors import NotReadyError
from service.live import messages
from service.live.messages import ItemsChanged, MoveProxies, PutItem, UserDeleted
from service.live.records import Moved, Plan, Target, check_names, moved_of, put_of
from service.models.registry import Registry
from service.settings import Settings
from service.store.erase import erase_user
from service.store.live import Answer, LiveStore, Question
from service.telemetry import Telemetry

log = logging.getLogger(__name__)


class LiveChanges:
    """Changes the records of all loaded models, all of them or none.

    Bodies are decoded and records encoded in a thread. Methods raise RankError.
    """

    def __init__(
        self, settings: Settings, registry: Registry, store: LiveStore, telemetry: Telemetry
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._store = store
        self._telemetry = telemetry

    async def put(self, body: bytes, request_id: str) -> ItemsChanged:
        """Put items: their content is replaced, but not what a model learned of them."""
        items = await asyncio.to_thread(messages.put_items, body)
        targets = self._targets()
        planned = await asyncio.to_thread(_plan, targets, items)
        names = [name for plan in planned for name in plan.names()]

        async def decide(answer: Answer) -> list[LiveChange]:
            return await asyncio.to_thread(lambda: [p.change(answer.records) for p in planned])

        await self._store.change(_keys(targets), Question(names), decide)
        item_ids = [item.item_id for item in items]
        self._count("items", len(items))
        self._count("proxies", sum(bool(item.proxies) for item in items))
        return self._done(request_id, targets, "put", item_ids, frozenset(item_ids))

    async def move_proxies(self, body: bytes, request_id: str) -> ItemsChanged:
        """Change the proxies of items that a catalogue lists."""
        items = await asyncio.to_thread(messages.moved_proxies, body)
        targets = self._targets()
        planned = _plan(targets, items)
        item_ids = [item.item_id for item in items]
        names = [name for plan in planned for name in plan.names()]
        known = frozenset[str]()

        async def decide(answer: Answer) -> list[LiveChange]:
            nonlocal known
            known = frozenset[str]().union(*answer.listed.values())
            return [plan.change(answer.records, known) for plan in planned]

        await self._store.change(_keys(targets), _question(targets, item_ids, names), decide)
        self._count("proxies", len(known))
        return self._done(request_id, targets, "proxies changed", item_ids, known)

    async def remove(self, body: bytes, request_id: str) -> ItemsChanged:
        """Remove items from the catalogues that list them."""
        item_ids = messages.removed_ids(body)
        targets = self._targets()
        known = frozenset[str]()

        async def decide(answer: Answer) -> list[LiveChange]:
            nonlocal known
            known = frozenset[str]().union(*answer.listed.values())
            changes = []
            for catalog, target in {target.keys.catalog: target for target in targets}.items():
                listed = [i for i in item_ids if i in answer.listed[catalog]]
                if listed and len(listed) == answer.sizes[catalog]:
                    raise messages.refusal(
                        "item_ids", f"these are all items of {target.label}: leave it one"
                    )
                if listed:
                    changes.append(LiveChange(keys=target.keys, removed=listed))
            return changes

        await self._store.change(_keys(targets), _question(targets, item_ids), decide)
        self._count("removed", len(known))
        return self._done(request_id, targets, "removed", item_ids, known)

    async def delete_user(self, user_id: str, request_id: str) -> UserDeleted:
        """Delete what the store holds of a user, for all versions of the model repository."""
        messages.check_user_id(user_id)
        keys = await asyncio.to_thread(self._all_keys)
        keys += _keys(self._targets())  # a repository may be lost
        erased = await erase_user(self._store, self._settings.namespace, keys, user_id)
        self._count("users", 1)
        log.info("a user was deleted (request %s): %s", request_id, erased)
        return UserDeleted(
            request_id=request_id,
            records=erased.records,
            histories=erased.histories,
            tradeoffs=erased.tradeoffs,
            decisions=erased.decisions,
            events=erased.events,
        )

    def _targets(self) -> list[Target]:
        """Return the loaded models; raises NotReadyError without one."""
        models = [model for model, _ in self._registry.models()]
        if not models:
            raise NotReadyError("no model is loaded whose records could be changed: try again")
        return [
            Target(model.label, model.keys, model.manifest, model.item_codings) for model in models
        ]

    def _all_keys(self) -> list[Keys]:
        """Return the keys of all versions on disk: a rollback may bring each of them back."""
        repository = Repository(self._settings.models_dir)
        keys = []
        try:
            names = repository.names()
            paths = [repository.path(n, v) for n in names for v in repository.versions(n)]
        except (ArtifactError, OSError):
            return []
        for path in paths:
            try:
                manifest = Manifest.model_validate_json((path / MANIFEST).read_bytes())
            except (OSError, ValidationError) as error:
                log.warning("%s: users of this version are not deleted: %s", path, error)
                continue
            keys.append(Keys(self._settings.namespace, manifest.spaces))
        return keys

    def _count(self, kind: str, number: int) -> None:
        self._telemetry.live_changes[kind].inc(number)

    def _done(
        self,
        request_id: str,
        targets: Sequence[Target],
        what: str,
        item_ids: list[str],
        known: frozenset[str],
    ) -> ItemsChanged:
        """Log a change and return its answer; ``known`` are the items that were changed."""
        unknown = [item_id for item_id in item_ids if item_id not in known]
        changed, labels = len(item_ids) - len(unknown), [target.label for target in targets]
        log.info("%d items %s in %s (request %s)", changed, what, ", ".join(labels), request_id)
        return ItemsChanged(request_id=request_id, models=labels, changed=changed, unknown=unknown)


def _plan(targets: Sequence[Target], items: Sequence[PutItem | MoveProxies]) -> list[Plan]:
    """Return what to write for each target; what targets share is planned once.

    Raises InvalidRequestError.
    """
    check_names(targets, items)
    planned, spaces = [], set[str]()
    for target in targets:
        put, moved = None, Moved()
        of_target = target.keys.spaces
        if isinstance(items[0], PutItem) and of_target.items not in spaces:
            put = put_of(target, items)  # type: ignore[arg-type]  # all are alike
        if of_target.proxies not in spaces:
            moved = moved_of(target, items)
        spaces |= {of_target.items, of_target.proxies}
        planned.append(Plan(target, put, moved))
    return planned


def _keys(targets: Sequence[Target]) -> list[Keys]:
    return [target.keys for target in targets]


def _question(
    targets: Sequence[Target], item_ids: Sequence[str], names: Sequence[str] = ()
) -> Question:
    """Return the question for records by key, and for which of the items each catalogue lists."""
    return Question(names, {target.keys.catalog: item_ids for target in targets})

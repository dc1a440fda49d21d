"""The automatic return: a version that fails goes back to the one before, on all replicas."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import AwareDatetime, ValidationError

from service.contract.front import Frozen
from service.contract.rollout import Limits
from service.errors import StoreError
from service.models.loaded_model import LoadedModel
from service.store.records import RedisStore

log = logging.getLogger(__name__)


class Verdict(Frozen):
    """The judgement that the version of an alias must go back; it holds for one move alone.

    A later move of the alias makes it void, also one to the same version.
    """

    alias: str
    version: int
    moved: AwareDatetime | None
    reason: str
    time: AwareDatetime


class Returns:
    """Judges versions, and shares the verdicts of all replicas through the store.

    A verdict that the store has lost, or that cannot be read, still holds: absence is no order.
    """

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._held: dict[str, Verdict] = {}
        self._fault: str | None = None

    def verdict(self, alias: str) -> Verdict | None:
        """Return the verdict that holds for ``name@alias``."""
        return self._held.get(alias)

    def judge(
        self, alias: str, model: LoadedModel, moved: datetime | None, limits: Limits
    ) -> Verdict | None:
        """Return the verdict on a model that has passed a limit; ``follow`` shares it."""
        if (reason := _problem(model, limits)) is None:
            return None
        return Verdict(
            alias=alias, version=model.version, moved=moved, reason=reason, time=datetime.now(UTC)
        )

    async def follow(
        self, current: Mapping[str, tuple[int, datetime | None]], found: list[Verdict]
    ) -> None:
        """Share the verdicts ``found`` here, and read those of other replicas.

        ``current`` has the version of each alias and the time of its last move. Without the store
        the verdicts found here wait: their version is judged again.
        """
        shared: dict[str, Verdict] = {}
        try:
            read = _parsed(await self._store.verdicts())
            shared |= {a: v for a, v in read.items() if _holds(v, current)}
            for verdict in (*self._held.values(), *found):
                if verdict.alias not in shared and _holds(verdict, current):
                    await self._store.add_verdict(verdict.alias, verdict.model_dump_json())
                    shared[verdict.alias] = verdict
        except StoreError as error:
            self._note(f"verdicts of other replicas cannot be read or written: {error.message}")
        else:
            self._note(None)
        held = {a: v for a, v in self._held.items() if _holds(v, current)} | shared
        for alias in held.keys() - self._held.keys():
            log.error("%s is returned: %s", alias, held[alias].reason)
        self._held = held

    def _note(self, fault: str | None) -> None:
        if fault is not None and fault != self._fault:
            log.warning("%s", fault)
        self._fault = fault


def _problem(model: LoadedModel, limits: Limits) -> str | None:
    """Return the limit that a model has passed, in words."""
    health = model.health
    # Failures beyond the share of the fewest rankings are too many, however many follow.
    judged = max(health.rankings, limits.rankings)
    if limits.error_rate is not None and health.failures > limits.error_rate * judged:
        return (
            f"{health.failures} of {health.rankings} rankings by {model.label} failed, more than "
            f"{limits.error_rate:.1%}"
        )
    if limits.drift is None or health.rankings < limits.rankings or not health.scores_count:
        return None
    drift = model.exposure.worst_drift()
    if drift is not None and drift > limits.drift:
        return (
            f"scores of {model.label} have drifted by {drift:.2f} from those in the artifact, more "
            f"than {limits.drift:g}"
        )
    return None


def _holds(verdict: Verdict, current: Mapping[str, tuple[int, datetime | None]]) -> bool:
    return current.get(verdict.alias) == (verdict.version, verdict.moved)


def _parsed(entries: Mapping[str, str]) -> dict[str, Verdict]:
    """Return the valid verdicts by alias; what another program wrote is left out."""
    verdicts = {}
    for alias, entry in entries.items():
        try:
            verdict = Verdict.model_validate_json(entry)
        except ValidationError:
            log.warning("the store holds no valid verdict for %s; it is left out", alias)
            continue
        if verdict.alias == alias:
            verdicts[alias] = verdict
    return verdicts

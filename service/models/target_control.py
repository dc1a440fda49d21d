"""Holds targets in service: corrects their tradeoffs by what all replicas have shown."""

from __future__ import annotations

import asyncio
import logging

from service.errors import StoreError
from service.exposure.targets import FEWEST, Target
from service.models.registry import Registry
from service.store.target_states import TargetState, TargetStates
from service.telemetry import Telemetry

log = logging.getLogger(__name__)


class TargetControl:
    """Shares what was shown at each target, and moves its tradeoff every two pauses at most.

    By then every replica ranks at the tradeoff before. Without the store, targets stay where they
    are.
    """

    def __init__(
        self, registry: Registry, states: TargetStates, telemetry: Telemetry, pause_s: float
    ) -> None:
        self._registry = registry
        self._states = states
        self._telemetry = telemetry
        self._pause_s = pause_s

    async def run(self) -> None:
        """Hold all targets without end."""
        while True:
            await asyncio.sleep(self._pause_s)
            try:
                await self.step()
            except StoreError:
                continue
            except Exception:  # a defect must not end the control
                log.exception("targets are not corrected")

    async def step(self) -> None:
        """Add what was shown since the last step, and correct the targets that are due."""
        held: list[tuple[str, Target]] = []
        for model, _ in self._registry.models():
            for target in model.targets.forget_idle():
                self._telemetry.forget_target(model.label, target.measure, target.label)
            held += [(model.label, target) for target in model.targets.held()]
        if not held:
            return
        counts = []
        for label, target in held:
            shown = TargetState(target.epoch, target.tradeoff, *target.take())
            counts.append((_name(label, target), shown))
        states = await self._states.add(counts)
        for (label, target), state in zip(held, states, strict=True):
            if state is None:
                continue
            target.follow(state.epoch, state.tradeoff)
            if state.rankings >= FEWEST and target.age_s() >= 2 * self._pause_s:
                await self._correct(label, target, state)
            self._report(label, target, state)

    async def _correct(self, label: str, target: Target, state: TargetState) -> None:
        tradeoff = target.corrected(state.rankings, state.excess)
        if await self._states.move(_name(label, target), state.epoch, tradeoff):
            target.follow(state.epoch + 1, tradeoff)

    def _report(self, label: str, target: Target, state: TargetState) -> None:
        labels = (label, target.measure, target.label)
        self._telemetry.target_value.labels(*labels).set(target.value)
        self._telemetry.target_correction.labels(*labels).set(target.correction)
        if state.rankings:
            self._telemetry.target_shown.labels(*labels).set(
                target.shown(state.rankings, state.excess)
            )


def _name(label: str, target: Target) -> str:
    return f"{label}:{target.measure}:{target.label}"

"""The experiment that runs: follows the repository, and counts what the arms get."""

from __future__ import annotations

import logging
from collections.abc import Callable

from service.contract.experiments import Arm, Experiment
from service.contract.feedback import CLICK, VIEW
from service.models.alias_reader import AliasReader
from service.settings import Settings
from service.telemetry import Telemetry
from service.telemetry.feedback import OTHER

log = logging.getLogger(__name__)


class Experiments:
    """The experiment that runs, if this replica can serve all of its arms.

    Else no user is in an arm, for a comparison with an arm that serves something else is none, and
    ``faults`` say why.
    """

    def __init__(self, reader: AliasReader, settings: Settings, telemetry: Telemetry) -> None:
        self._reader = reader
        self._logs_all = settings.decisions == 1
        self._telemetry = telemetry
        self.running: Experiment | None = None
        self.faults: tuple[str, ...] = ()

    def follow(self, is_loaded: Callable[[str], bool]) -> None:
        """Run what the repository says; ``is_loaded`` knows the references that can be served."""
        wanted = self._reader.experiments.running
        faults = tuple(self._faults(wanted, is_loaded)) if wanted is not None else ()
        for fault in faults:
            if fault not in self.faults:
                log.error("%s; the experiment does not run", fault)
        self.faults = faults
        running = None if faults else wanted
        if running != self.running:
            self._start(running)
        self.running = running

    def arm(self, user_id: str) -> Arm | None:
        """Return the arm of a user, None outside of the experiment."""
        return None if self.running is None else self.running.arm(user_id)

    def count_ranking(self, arm: Arm) -> None:
        """Count a ranking of an arm."""
        if self.running is not None:
            self._telemetry.arm_rankings.labels(self.running.name, arm.name).inc()

    def count_event(self, user_id: str, kind: str) -> None:
        """Count an event by its user's arm."""
        if self.running is not None and (arm := self.running.arm(user_id)) is not None:
            known = kind if kind in (VIEW, CLICK) else OTHER
            self._telemetry.arm_events.labels(self.running.name, arm.name, known).inc()

    def _start(self, experiment: Experiment | None) -> None:
        if experiment is None:
            log.info("no experiment runs any more")
            return
        for arm in experiment.arms:
            self._telemetry.start_arm(experiment.name, arm.name)
        shares = ", ".join(f"{arm.name} {arm.share:.1%}" for arm in experiment.arms)
        log.info("experiment %s runs: %s of the users", experiment.name, shares)

    def _faults(self, wanted: Experiment, is_loaded: Callable[[str], bool]) -> list[str]:
        faults = []
        for arm in wanted.arms:
            place = f"experiment {wanted.name}: arm {arm.name}"
            if arm.model is not None and not is_loaded(arm.model):
                faults.append(f"{place} names {arm.model}, which is not loaded: give it an alias")
            if arm.tradeoffs and not self._logs_all:
                faults.append(f"{place} draws tradeoffs, which needs RANK_DECISIONS=1")
        return faults

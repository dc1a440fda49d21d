"""What the report of an experiment holds."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from service.contract.experiments import Experiment
from service.contract.front import Frozen


class Interval(Frozen):
    """An estimate with its always-valid interval, None for too few users."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


class ArmFigures(Frozen):
    """One arm, its measures by name; ``entered`` users came, ``users`` of them count already."""

    name: str
    entered: int
    users: int
    rankings: int
    measures: dict[str, Interval]


class Look(Frozen):
    """The measures of an arm less those of the control, as they were at a time."""

    time: AwareDatetime
    users: int = Field(description="Those of both arms.")
    differences: dict[str, Interval]


class Comparison(Frozen):
    """An arm against the control: a look a day, the last one is now."""

    arm: str
    looks: tuple[Look, ...]

    @property
    def now(self) -> dict[str, Interval]:
        """The differences as of the last look."""
        return self.looks[-1].differences


class SampleRatio(Frozen):
    """Whether users came to the arms as planned; ``always_valid_p`` allows a look every day."""

    chi_square_p: float
    always_valid_p: float
    mismatch: bool


class ExperimentReport(Frozen):
    """The report of an experiment.

    A user counts from ``window_ms`` after the first ranking on, and once the clicks of that time
    are in; what it did later is not part of the measures.
    """

    kind: Literal["experiment"] = "experiment"
    experiment: Experiment
    control: str
    metric: str
    primary: str
    level: float = Field(description="Of all intervals of the differences in the primary measure.")
    window_ms: int
    until: AwareDatetime
    arms: tuple[ArmFigures, ...]
    comparisons: tuple[Comparison, ...]
    sample_ratio: SampleRatio | None
    warnings: tuple[str, ...] = ()
    command: str = ""

"""What a report holds beside a front: the curves of its baselines."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from service.contract.manifest import Front, Metric


class Curve(BaseModel):
    """One baseline over several seeds; a point is a curve of length one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    tradeoffs: tuple[float, ...]
    logged_auc: tuple[Metric, ...]
    unbiased_auc: tuple[Metric, ...]
    hypervolume: Metric


class Report(Front):
    """A front and what it was compared with: ``results/<dataset>/<name>.json``."""

    baselines: dict[str, Curve]

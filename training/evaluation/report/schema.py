"""The data of a report: a front, baselines, probes of purification, segments and a mask."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from service.contract.card import Exposure, Parameters
from service.contract.dataset_summary import DatasetSummary
from service.contract.front import Estimate, Front


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Curve(_Frozen):
    """One baseline over several seeds, at one or more tradeoffs (T,).

    logged, unbiased (T,): the metric that spans the front, on both sides. hypervolume: the area
    they dominate. For full rankings, points (T,): all metrics by name, and options: those that
    validation chose.
    """

    description: str
    tradeoffs: tuple[float, ...]
    logged: tuple[Estimate, ...]
    unbiased: tuple[Estimate, ...]
    hypervolume: Estimate
    points: tuple[dict[str, Estimate], ...] = ()
    options: dict[str, float] = {}


class Probe(_Frozen):
    """The accuracy of a linear probe that predicts one proxy from a net's features, over seeds.

    measure: ``r2`` of the proxy's percentile rank, 0 if the features do not predict it; or ``auc``
    of a proxy above its median, or of one category against the others, .5 if they do not.
    purified, unpurified: from the common features of nets with and without purification.
    difference: unpurified - purified, paired by seed. content: from the raw embeddings.
    """

    proxy: str
    measure: Literal["r2", "auc"]
    purified: Estimate
    unpurified: Estimate | None
    difference: Estimate | None
    content: Estimate


class Segment(_Frozen):
    """AUC on a named part of the test rows of one side, over seeds.

    rows, clicks, users, items: counts, as means over seeds. auc: by score, which is the net at a
    tradeoff, such as ``w = 0``, or a prior. Errors cover redraws of the users and the seeds.
    """

    side: Literal["logged", "unbiased"]
    name: str
    rows: float
    clicks: float
    users: float
    items: float
    auc: dict[str, Estimate]


class Mask(_Frozen):
    """PaInvRL's invariant mask and its effect on rankings, over seeds.

    open: mean gate of each modality, in [0, 1].
    overlap: share of the top 10 of the whole catalogue that w = 0 and w = 1 have in common.
    content_overlap: the same share without learned popularity, so that w weighs content alone.
    weight, weight_deviation: mean and standard deviation of lambda* over the steps of the mask.
    weights: mean lambda* in each tenth of the steps.
    moved: the share of clicks that each reassignment of environments moved, at the first seed.
    """

    open: dict[str, Estimate]
    overlap: Estimate
    content_overlap: Estimate
    weight: Estimate
    weight_deviation: Estimate
    weights: tuple[float, ...]
    moved: tuple[float, ...]


class Origin(_Frozen):
    """How a report came about: the command, the commit of the sources, the options as TOML."""

    command: str
    commit: str | None
    configuration: str


class Report(Front):
    """A front with its comparisons: the content of ``results/<dataset>/<name>.json``.

    training: the values of validation, a series a seed. parameters, exposure: those of a card.
    """

    baselines: dict[str, Curve]
    purification: tuple[Probe, ...] = ()
    segments: tuple[Segment, ...] = ()
    mask: Mask | None = None
    training: tuple[tuple[float, ...], ...] = ()
    parameters: Parameters | None = None
    exposure: Exposure | None = None
    data: DatasetSummary | None = None
    origin: Origin | None = None


class RankingReport(_Frozen):
    """Baselines on clicks alone, without a front."""

    dataset: str
    seeds: tuple[int, ...]
    baselines: dict[str, Curve]
    data: DatasetSummary | None = None
    origin: Origin | None = None

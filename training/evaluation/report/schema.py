"""What a report holds beside a front: baselines, purification probes, cold items and users."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from service.contract.manifest import Estimate, Front


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Curve(_Frozen):
    """One baseline over several seeds; a point is a curve of length one.

    ``logged`` and ``unbiased`` are the two axes of the front beside it. Of a full ranking also all
    that was measured at each tradeoff, by name, and the ``options`` that validation chose.
    """

    description: str
    tradeoffs: tuple[float, ...]
    logged: tuple[Estimate, ...]
    unbiased: tuple[Estimate, ...]
    hypervolume: Estimate
    points: tuple[dict[str, Estimate], ...] = ()
    options: dict[str, float] = {}


class Probe(_Frozen):
    """How well a linear probe reads one proxy off what a net holds of an item, over seeds.

    ``r2``: of the proxy's percentile rank, 0 where nothing can be read. ``auc``: of being above
    the median, or of a category against the others; .5 where nothing can be read. ``difference``
    is without purification less with it, paired by seed; ``content`` reads the raw embeddings.
    """

    proxy: str
    measure: Literal["r2", "auc"]
    purified: Estimate
    unpurified: Estimate | None
    difference: Estimate | None
    content: Estimate


class Segment(_Frozen):
    """AUC on a part of the test rows, by what scored them: ``w = 0``, ..., and priors.

    Counts are means over seeds. Errors are of the users, drawn anew, and of the seeds.
    """

    side: Literal["logged", "unbiased"]
    name: str
    rows: float
    clicks: float
    users: float
    items: float
    auc: dict[str, Estimate]


class Mask(_Frozen):
    """What PaInvRL's mask does, over seeds.

    open: mean gate by modality, in [0, 1]. overlap: share of the top 10 of the whole catalogue
    that w = 0 and w = 1 have in common, and ``content_overlap`` were variant content all that w
    moved. weight: lambda* over the steps that learned the gates, ``weights`` its means by tenths;
    ``moved``: the share of clicks that each reassignment of environments moved, of the first seed.
    """

    open: dict[str, Estimate]
    overlap: Estimate
    content_overlap: Estimate
    weight: Estimate
    weight_deviation: Estimate
    weights: tuple[float, ...]
    moved: tuple[float, ...]


class Report(Front):
    """A front and what it was compared with: ``results/<dataset>/<name>.json``."""

    baselines: dict[str, Curve]
    purification: tuple[Probe, ...] = ()
    segments: tuple[Segment, ...] = ()
    mask: Mask | None = None


class RankingReport(_Frozen):
    """Baselines on data of clicks alone, without a front beside them."""

    dataset: str
    seeds: tuple[int, ...]
    baselines: dict[str, Curve]

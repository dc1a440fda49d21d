"""What the anchors say of a model: whether it beats the best one, over one seed or several."""

from __future__ import annotations

from collections.abc import Sequence

from service.contract.front import Anchor, Anchors, Estimate
from training.metrics.estimates import all_known, mean_over_seeds_and_users

_METRICS = {"auc": "AUC", "recall_at_20": "recall@20"}
_DIGITS = 4


def judged(anchors: Anchors) -> Anchors:
    """Return the anchors, best first, with ``beaten`` decided by the lead over the best one."""
    ordered = tuple(sorted(anchors.anchors, key=lambda anchor: -anchor.value.mean))
    return anchors.model_copy(update={"anchors": ordered, "beaten": _exceeds(ordered[0].lead)})


def pool_anchors(seeds: Sequence[Anchors]) -> Anchors:
    """Pool the anchors of several seeds, with errors that cover users and seeds."""
    first = seeds[0]
    tables = [{anchor.name: anchor for anchor in seed.anchors} for seed in seeds]

    def pooled(name: str) -> Anchor:
        anchors = [table[name] for table in tables]
        return Anchor(
            name=name,
            value=mean_over_seeds_and_users([anchor.value for anchor in anchors]),
            gauc=_pooled_gauc([anchor.gauc for anchor in anchors]),
            lead=mean_over_seeds_and_users([anchor.lead for anchor in anchors]),
            gauc_lead=_pooled_gauc([anchor.gauc_lead for anchor in anchors]),
        )

    common = [name for name in tables[0] if all(name in table for table in tables)]
    update = {
        "model": mean_over_seeds_and_users([seed.model for seed in seeds]),
        "model_gauc": _pooled_gauc([seed.model_gauc for seed in seeds]),
        "anchors": tuple(map(pooled, common)),
    }
    return judged(first.model_copy(update=update))


def shortfall(anchors: Anchors) -> str | None:
    """Return a sentence on the best anchor if the model does not beat it by two standard errors."""
    if anchors.beaten:
        return None
    best, metric = anchors.best, _METRICS[anchors.metric]
    lead, model = best.lead, anchors.model.mean
    scores = (
        f"on held-out clicks its {metric} is {best.value.mean:.{_DIGITS}f}, this model's at w = 1 "
        f"is {model:.{_DIGITS}f}"
    )
    if not all_known([lead]):
        return (
            f"Not proven: the test has too few users to say whether this model beats a simple one, "
            f"{best.name}: {scores}"
        )
    gap = f"{abs(lead.mean):.{_DIGITS}f} ± {lead.se:.{_DIGITS}f}"
    if _exceeds(Estimate(mean=-lead.mean, se=lead.se)):
        return (
            f"Not worth serving as it is: a simple model, {best.name}, predicts clicks better: "
            f"{scores}, {gap} less"
        )
    more_or_less = "more" if lead.mean > 0 else "less"
    return (
        f"Not proven: this model predicts clicks no better than a simple one, {best.name}, beyond "
        f"chance: {scores}, {gap} {more_or_less}"
    )


def _pooled_gauc(seeds: Sequence[Estimate | None]) -> Estimate | None:
    gaucs = [gauc for gauc in seeds if gauc is not None]
    return mean_over_seeds_and_users(gaucs) if len(gaucs) == len(seeds) else None


def _exceeds(lead: Estimate) -> bool:
    """Return whether a lead is over two standard errors; an unknown error exceeds nothing."""
    return lead.se is not None and lead.mean > 2 * lead.se

from __future__ import annotations

import pytest

from service.contract.front import Anchor, Anchors, Estimate
from training.evaluation.anchors.outcome import judged, pool_anchors, shortfall


def anchors(
    lead: float, se: float | None, *, model: float = 0.75, other_lead: float = 0.2
) -> Anchors:
    """Return the judged anchors of a model, the best of them last."""
    pairs = {"popularity alone": (other_lead, 0.01), "matrix factorisation": (lead, se)}
    return judged(
        Anchors(
            metric="auc",
            model=Estimate(mean=model, se=0.003),
            anchors=tuple(
                Anchor(
                    name=name,
                    value=Estimate(mean=model - ahead, se=0.003),
                    gauc=Estimate(mean=0.6, se=0.004),
                    lead=Estimate(mean=ahead, se=error),
                    gauc_lead=Estimate(mean=ahead / 2, se=0.01),
                )
                for name, (ahead, error) in pairs.items()
            ),
            beaten=False,
            rows=1000,
        )
    )


@pytest.mark.parametrize(
    ("lead", "se", "beaten"),
    [(0.021, 0.01, True), (0.019, 0.01, False), (-0.03, 0.01, False), (0.1, None, False)],
)
def test_the_best_anchor_is_beaten_by_two_standard_errors(
    lead: float, se: float | None, beaten: bool
) -> None:
    judgement = anchors(lead, se)
    assert judgement.best.name == "matrix factorisation"
    assert judgement.beaten == beaten
    assert (shortfall(judgement) is None) == beaten


def test_the_sentence_names_the_anchor_and_the_gap() -> None:
    assert shortfall(anchors(-0.0269, 0.0012, model=0.7557)) == (
        "Not worth serving as it is: a simple model, matrix factorisation, predicts clicks better: "
        "on held-out clicks its AUC is 0.7826, this model's at w = 1 is 0.7557, "
        "0.0269 ± 0.0012 less"
    )
    assert shortfall(anchors(0.0011, 0.0012)) == (
        "Not proven: this model predicts clicks no better than a simple one, matrix factorisation, "
        "beyond chance: on held-out clicks its AUC is 0.7489, this model's at w = 1 is 0.7500, "
        "0.0011 ± 0.0012 more"
    )
    assert "0.0011 ± 0.0012 less" in str(shortfall(anchors(-0.0011, 0.0012)))
    assert "too few users to say" in str(shortfall(anchors(0.1, None)))


def test_errors_over_seeds_cover_users_and_seeds() -> None:
    """Var = mean of .01^2 and .02^2, plus the seeds' variance of .0002 over 2."""
    pooled = pool_anchors([anchors(0.03, 0.01), anchors(0.05, 0.02)])
    assert pooled.best.lead.mean == pytest.approx(0.04)
    assert pooled.best.lead.se == pytest.approx((0.00025 + 0.0001) ** 0.5)
    assert pooled.model == Estimate(mean=0.75, se=0.003)
    assert pooled.best.gauc_lead is not None
    assert pooled.best.gauc_lead.mean == pytest.approx(0.02)
    assert pooled.beaten
    assert pool_anchors([anchors(0.03, 0.01)]).best.lead.se == pytest.approx(0.01)


def test_an_unknown_error_stays_unknown_and_an_anchor_of_one_seed_is_left_out() -> None:
    first, second = anchors(0.03, 0.01), anchors(0.05, None)
    assert pool_anchors([first, second]).best.lead.se is None
    alone = second.model_copy(update={"anchors": second.anchors[1:]})
    assert [a.name for a in pool_anchors([first, alone]).anchors] == ["popularity alone"]

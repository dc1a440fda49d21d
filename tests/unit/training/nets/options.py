"""Options of nets that several tests share."""

from __future__ import annotations

from training.nets.cp2rec.decomposed import Cp2recOptions

D = 4
LIKELIHOOD_ALONE = Cp2recOptions(
    dim=D,
    proxy_bins=4,
    proxy_dropout=0.0,
    exposure_weight=0.0,
    orthogonality_weight=0.0,
    new_share=0.0,
    prior_weight=0.0,
)

"""Options of nets that several tests share."""

from __future__ import annotations

import math

from training.nets.cp2rec.decomposed import Cp2recOptions

D = 4
LIKELIHOOD_ALONE = Cp2recOptions(
    dim=D,
    proxy_bins=4,
    proxy_dropout=0.0,
    exposure_weight=0.0,
    orthogonality_weight=0.0,
    factor_weight=0.0,
    new_share=0.0,
    item_factor_sd=math.inf,
    item_bias_sd=math.inf,
    user_bias_sd=math.inf,
    conformity_sd=math.inf,
)

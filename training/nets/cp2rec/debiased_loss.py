"""Inverse-propensity losses of the debiased head."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import Slates


def debiased_loss(
    logit: Tensor, batch: Slates, kind: Literal["ips", "snips", "pos", "rel"]
) -> Tensor:
    """Return L_U of logits (R,) under propensities theta in (0, 1].

    ips: BCE / theta, for both labels (Schnabel et al., ICML 2016). snips: its self-normalised form
    (Swaminathan & Joachims, NIPS 2015). pos: BCE / theta of clicks, BCE of skips. rel: the squared
    Rel-MF loss (Saito et al., WSDM 2020), y / theta (1 - p)^2 + (1 - y / theta) p^2. ips and snips
    have the same optimum as BCE wherever the features determine P(click), so they debias only
    effects that the features cannot explain.
    """
    logit, weight = logit.float(), 1.0 / batch.propensity
    bce = F.binary_cross_entropy_with_logits(logit, batch.label, reduction="none")
    if kind == "ips":
        return (weight * bce).mean()
    if kind == "snips":
        return (weight * bce).sum() / weight.sum()
    if kind == "pos":
        return (torch.where(batch.label > 0.5, weight, 1.0) * bce).mean()
    p = torch.sigmoid(logit)
    relevance = batch.label * weight
    return (relevance * (1 - p).square() + (1 - relevance) * p.square()).mean()

"""PaInvRL without one of its parts, and with a popularity penalty in place of its tradeoff."""

from __future__ import annotations

from training.nets.base import Ablation

ABLATIONS = {
    "unmasked": Ablation("no mask: popularity alone carries w", {"gates": "none"}),
    "unmasked-penalty": Ablation("the same less c log popularity", {"gates": "none"}, penalty=True),
    "random-environments": Ablation("a mask from random environments", {"environments": "random"}),
    "mask-only": Ablation("invariant content alone", {"convert": False}),
    "no-popularity": Ablation("variant content alone carries w", {"popularity": 0.0}),
}

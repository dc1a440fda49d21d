"""All architectures and their capabilities.

A new one adds its module, its entry here and its configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution

from training.nets.base import Ablation, FrontNet, NetOptions, TrainingTables
from training.nets.cp2rec import decomposed, interaction_layers
from training.nets.cp2rec.decomposed import (
    Cp2recDecomposed,
    Cp2recOptions,
    without_purification,
)
from training.nets.cp2rec.interaction import Cp2recInteraction
from training.nets.cp2rec.interaction_layers import InteractionOptions, without_purifier
from training.nets.cp2rec.rivals import Cp2recRival, RivalOptions
from training.nets.painvrl import modules as painvrl
from training.nets.painvrl.ablations import ABLATIONS
from training.nets.painvrl.modules import PainvrlOptions
from training.nets.painvrl.net import Painvrl


@dataclass(frozen=True)
class Architecture:
    """A net and its capabilities: the commands know a net by its entry alone.

    options: the class of its options, the section ``[net]``. net: its constructor.
    learns_from_clicks_alone: whether it can train on a log without skips.
    unpurified: returns its options without purification; None if they already have none.
    learns_mask: returns whether a net with these options learns an invariant mask.
    tower: returns the options on which rivals are built; None for a net that has no tower.
    ablations: variants of its options, by name; ``evaluate`` compares them on clicks alone.
    search_space: returns what ``train --tune`` searches with these options: keys of the
    configuration with their ranges, which hold the packaged values.
    configurable: whether a configuration may name it; only code creates the net of a rival.
    in_words: how it ranks, in sentences for the card of a model, whose readers know no nets.
    """

    options: type[NetOptions]
    net: Callable[[TrainingTables, Any], FrontNet]
    learns_from_clicks_alone: bool = False
    unpurified: Callable[[Any], NetOptions | None] = lambda _: None
    learns_mask: Callable[[Any], bool] = lambda _: False
    tower: Callable[[Any], Cp2recOptions | None] = lambda _: None
    ablations: Mapping[str, Ablation] = field(default_factory=dict)
    search_space: Callable[[Any], Mapping[str, BaseDistribution]] = lambda _: {}
    configurable: bool = True
    in_words: str = (
        "The tradeoff weighs the part of the score that comes from how items were shown before: at "
        "w = 0 it is left out as far as the model can tell, at w = 1 it counts in full."
    )


DECOMPOSED = Architecture(
    Cp2recOptions,
    Cp2recDecomposed,
    unpurified=without_purification,
    tower=lambda options: options,
    search_space=decomposed.search_space,
    in_words=(
        "The score is a sum of two parts. The first is how well the item fits the taste that the "
        "model has learned of the person, and how good the item is for anybody. The second is the "
        "pull of exposure: how much the exposure statistics of the item raise clicks, more for "
        "some people than for others. The tradeoff w multiplies the second part: at w = 0 it does "
        "not count, at w = 1 it counts in full."
    ),
)
INTERACTION = Architecture(
    InteractionOptions,
    Cp2recInteraction,
    unpurified=without_purifier,
    search_space=interaction_layers.search_space,
    in_words=(
        "A neural network scores the item's content, what was learned of the item, the taste of "
        "the person and the exposure statistics together. The tradeoff says how much of the "
        "exposure statistics counts: at w = 0 the score leaves out what the network takes for "
        "their effect, at w = 1 it has all of it."
    ),
)

ARCHITECTURES: dict[str, Architecture] = {
    "decomposed": DECOMPOSED,
    "dcn": INTERACTION,
    "ncf": INTERACTION,
    "painvrl": Architecture(
        PainvrlOptions,
        Painvrl,
        learns_from_clicks_alone=True,
        learns_mask=lambda options: options.gates != "none",
        ablations=ABLATIONS,
        search_space=painvrl.search_space,
        in_words=(
            "The score is a sum of two parts. The first is how well the item fits the taste of the "
            "person, by what was learned of both and by the features of the content that predict "
            "clicks in all circumstances. The second is popularity and, if the model separates "
            "them, the features of the content that predict clicks only in some circumstances. "
            "The tradeoff w weighs the second part: it counts least at w = 0, in full at w = 1."
        ),
    ),
    "rival": Architecture(RivalOptions, Cp2recRival, configurable=False),
}


def configurable() -> tuple[str, ...]:
    """Return the names that ``net.architecture`` may have in a configuration."""
    return tuple(name for name, entry in ARCHITECTURES.items() if entry.configurable)


def architecture(options: NetOptions) -> Architecture:
    """Return the registry entry of ``options``."""
    return ARCHITECTURES[options.architecture]


def build_net(options: NetOptions, tables: TrainingTables) -> FrontNet:
    """Return the untrained net of ``options``."""
    return architecture(options).net(tables, options)

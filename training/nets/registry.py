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


DECOMPOSED = Architecture(
    Cp2recOptions,
    Cp2recDecomposed,
    unpurified=without_purification,
    tower=lambda options: options,
    search_space=decomposed.search_space,
)
INTERACTION = Architecture(
    InteractionOptions,
    Cp2recInteraction,
    unpurified=without_purifier,
    search_space=interaction_layers.search_space,
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

"""Every net by its options: a new model adds its line here and a configuration, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args, get_type_hints

from training.nets.base import FrontNet, NetOptions, TrainingTables
from training.nets.cp2rec.decomposed import Cp2recDecomposed, Cp2recOptions
from training.nets.cp2rec.interaction import Cp2recInteraction
from training.nets.cp2rec.interaction_layers import InteractionOptions
from training.nets.cp2rec.rivals import Cp2recRival, RivalOptions
from training.nets.painvrl.modules import PainvrlOptions
from training.nets.painvrl.net import Painvrl

Build = Callable[[TrainingTables, Any], FrontNet]

NETS: dict[type[NetOptions], Build] = {
    Cp2recOptions: Cp2recDecomposed,
    InteractionOptions: Cp2recInteraction,
    PainvrlOptions: Painvrl,
    RivalOptions: Cp2recRival,
}

Configurable = Cp2recOptions | InteractionOptions | PainvrlOptions  # what [net] may be


def families() -> tuple[str, ...]:
    """Return what ``model`` may be, the kinds of artifacts."""
    return tuple(dict.fromkeys(options.family for options in NETS))


def main_names() -> tuple[str, ...]:
    """Return the values that ``net.main`` may have."""
    mains = [get_type_hints(options)["main"] for options in get_args(Configurable)]
    return tuple(name for main in mains for name in get_args(main))


def build_net(options: NetOptions, tables: TrainingTables) -> FrontNet:
    """Return the untrained net of ``options``."""
    return NETS[type(options)](tables, options)

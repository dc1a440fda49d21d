"""The measured configuration; peers take their sizes from it."""

from __future__ import annotations

from training.config import Config, load_config
from training.nets.cp2rec.interaction_layers import InteractionOptions


def bench_config() -> tuple[Config, InteractionOptions]:
    """Return the configuration and the options of its net: the paper's DCN with one BCE head."""
    config = load_config("cp2rec-paper", overrides=("net.architecture=dcn", "net.debias=none"))
    if not isinstance(config.net, InteractionOptions):
        raise TypeError("net.architecture=dcn must be a net with learned interactions")
    return config, config.net

"""Training: from a dataset and a configuration to a fitted net."""

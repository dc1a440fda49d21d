"""From a dataset to a fitted net."""

"""The models that serve: loaded, verified, swapped, dropped."""

"""Baselines of a front: other ways to trade accuracy for bias."""

"""Anchors: simple models on the same rows, trained in every training, that a model has to beat."""

"""Packaged training configurations, one a model."""

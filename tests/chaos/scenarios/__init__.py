"""All scenarios, by subject: importing this package registers them."""

from tests.chaos.scenarios import clock, http, models, publishing, records, replicas, store

__all__ = ["clock", "http", "models", "publishing", "records", "replicas", "store"]

"""All scenarios, by subject: importing this package registers them."""

from tests.chaos.scenarios import store, records, replicas, publishing, models, http, load, clock  # noqa: I001  # the order of the table

__all__ = ["clock", "http", "load", "models", "publishing", "records", "replicas", "store"]

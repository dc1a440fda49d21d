"""From a fitted net to serving: the artifact, and its records in Redis."""

BATCH = 1000  # records that `publish` writes at a time

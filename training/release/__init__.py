"""From a fitted net to serving: the artifact, and its records in Redis."""

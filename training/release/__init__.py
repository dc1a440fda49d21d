"""From a fitted net to what serves: the artifact, its records in Redis."""

"""The interface of training and service: artifacts, records, Redis keys, shared measures."""

CHAMPION = "champion"  # the alias of the version that serves a model's requests

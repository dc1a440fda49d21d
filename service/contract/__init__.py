"""The interface of training and service: artifacts, records, Redis keys, shared measures."""

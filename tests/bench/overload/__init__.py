"""Measures the service beyond its capacity: ``python -m tests.bench.overload``."""

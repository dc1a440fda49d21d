"""Measures what swaps of models cost open requests: ``python -m tests.bench.swaps``."""

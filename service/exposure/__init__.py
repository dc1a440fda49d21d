"""Exposure bias of rankings, for comparison with the bias reference."""

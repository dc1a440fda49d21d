"""The models in memory: loads, verifies, swaps and drops them, and runs their graphs."""

"""The simulator of a feed with known truth."""

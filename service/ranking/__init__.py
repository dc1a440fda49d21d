"""Ranks one request from start to end."""

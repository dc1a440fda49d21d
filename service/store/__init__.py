"""Reads of Redis: the only package that knows redis-py."""

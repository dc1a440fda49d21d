"""Reads of Redis. This is the only package that knows redis-py."""

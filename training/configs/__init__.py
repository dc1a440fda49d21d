"""Packaged training configurations, and one to lay over them with --config."""

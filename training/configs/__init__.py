"""Packaged training configurations, and two to lay over them with --config."""

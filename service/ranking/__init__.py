"""One ranking request from start to end."""

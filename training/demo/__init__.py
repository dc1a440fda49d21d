"""The demo: the whole path on simulated data, with a private Redis."""

"""The whole path on simulated data, against a private Redis."""

"""The evaluation of a fitted net: its front, verdict, segments, probes, mask and baselines."""

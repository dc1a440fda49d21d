"""What a trained net is worth: its front, verdict, segments, probes and baselines."""

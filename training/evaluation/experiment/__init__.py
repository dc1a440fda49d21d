"""What the arms of an experiment came to, with intervals that may be looked at every day."""

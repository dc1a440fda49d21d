"""Item states in memory, kept fresh by the change stream."""

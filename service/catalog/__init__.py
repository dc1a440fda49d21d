"""Item states in memory; the change streams keep them up to date."""

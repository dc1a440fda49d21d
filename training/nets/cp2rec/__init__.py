"""CP2Rec: the decomposed model, learned interactions, and rivals on the same tower."""

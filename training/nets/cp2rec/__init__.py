"""CP2Rec: the decomposed net, the net with learned interactions, and rivals on the same tower."""

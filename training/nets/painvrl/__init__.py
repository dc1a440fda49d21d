"""PaInvRL: the net, and the invariant mask that it is given."""

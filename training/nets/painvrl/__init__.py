"""PaInvRL: the search for the invariant mask, and the net that uses it."""

"""What policies that did not serve would have come to, estimated from a log of those that did."""

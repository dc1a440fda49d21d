"""What a front is compared with."""

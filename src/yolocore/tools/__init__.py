"""What needs the whole library: a finished training told again to the trackers."""

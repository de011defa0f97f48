"""Four processes to try, and the systems that they call."""

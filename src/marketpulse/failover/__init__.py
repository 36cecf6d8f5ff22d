"""One primary source for each symbol: who owns which stretch of its event time, and when another takes over."""

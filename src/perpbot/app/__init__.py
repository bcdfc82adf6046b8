"""The only place that puts a node together; clock, randomness, transports and ports are arguments."""

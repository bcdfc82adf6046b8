"""The only place that puts a node together; clock, randomness and ports are arguments."""

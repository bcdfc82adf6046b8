"""What would have been: a node and its exchanges in virtual time."""

"""Deterministic chaos: a node against exchanges of ours while everything breaks, by seed."""

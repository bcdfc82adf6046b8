"""Tier B: real adapters, limiters, reconnects and journal files over wires that break, by seed."""

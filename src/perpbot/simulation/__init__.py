"""Exchanges of our own: matching, accounting, markets, faults, and a server for each protocol."""

"""Hyperliquid perpetuals: public streams without keys, orders signed by an agent wallet."""

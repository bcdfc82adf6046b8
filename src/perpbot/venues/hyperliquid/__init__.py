"""Hyperliquid perpetuals: public data by address-free streams, orders signed by an agent wallet."""

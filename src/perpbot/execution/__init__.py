"""How we do it: pair trades, legs, hedging, retries, reconciliation, stops."""

"""Tables of trades, orders, fills and equity: a projection of the journal, never its equal."""

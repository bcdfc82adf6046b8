"""Tables of trades, orders, fills, transfers, equity: a projection of the journal, no equal."""

"""What we own and owe: orders, positions, balances, leases, capital, profit and loss."""

"""OKX: linear perpetual swaps settled in USDT or USDC."""

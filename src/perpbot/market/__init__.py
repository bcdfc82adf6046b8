"""What the market is: quotes, books, their quality, the basis between venues."""

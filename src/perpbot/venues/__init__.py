"""The doors: one package a venue, each speaking that venue's real protocol."""

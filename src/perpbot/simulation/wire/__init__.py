"""Our exchanges in the protocols of real venues, on loopback: a module or package a venue."""

"""A second, small process that takes over when the node falls silent, and what both agree on."""

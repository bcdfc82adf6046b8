"""Why we do it: each strategy in a package of its own."""

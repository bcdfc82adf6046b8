"""Measures the hot paths against plain library calls, in one run: `python -m tests.benchmarks`."""

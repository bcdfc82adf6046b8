"""Load: long journals, many reconnects, hours of orders. `python -m tests.load --help`."""

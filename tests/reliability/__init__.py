"""What must hold, run at length: `python -m tests.reliability --help`."""

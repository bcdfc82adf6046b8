"""`python -m perpbot`: the same as the command `perpbot`."""

from __future__ import annotations

from perpbot.cli.main import main

if __name__ == "__main__":
    main()

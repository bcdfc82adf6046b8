"""Print a generated page: `python -m perpbot.configuration page|env|starter`."""

from __future__ import annotations

import sys

from perpbot.configuration.pages import configuration_page, env_example_page, starter_config

PAGES = {"page": configuration_page, "env": env_example_page, "starter": starter_config}


def main(arguments: list[str]) -> int:
    """Write one page to stdout; exit code 2 for an unknown name."""
    if len(arguments) != 1 or arguments[0] not in PAGES:
        sys.stderr.write(f"usage: python -m perpbot.configuration {'|'.join(PAGES)}\n")
        return 2
    sys.stdout.write(PAGES[arguments[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

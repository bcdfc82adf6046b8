"""perpbot: trades perpetual futures on several venues with one account of what it owns and owes.

The floors of the house and the direction of imports are described in docs/architecture.md.
This module holds the version and nothing else, so that importing it stays free of work.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"

"""How a node runs: clock, timers, event bus, journal, ids, supervisor."""

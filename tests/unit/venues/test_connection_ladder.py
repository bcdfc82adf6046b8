from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import StateConflict
from perpbot.venues.connection_ladder import DOWN, LIVE, POLLING, ConnectionLadder


def test_unknown_ladder_event_is_a_conflict() -> None:
    """A misspelt event must not pass as one that changes nothing."""
    with pytest.raises(StateConflict):
        ConnectionLadder().on("dta")


@given(st.lists(st.sampled_from(["data", "silent", "poll ok", "polls failed", "closed"])))
def test_ladder_is_live_exactly_after_data(moves: list[str]) -> None:
    """From any state data leads to LIVE, and only silence or the end leads away."""
    ladder = ConnectionLadder()
    for move in moves:
        before = ladder.state
        changed = ladder.on(move)
        assert changed == (ladder.state is not before)
        if move == "data":
            assert ladder.state is LIVE
        elif ladder.state is LIVE:
            assert before is LIVE
        elif before is LIVE:
            assert (move, ladder.state) in {("silent", POLLING), ("closed", DOWN)}

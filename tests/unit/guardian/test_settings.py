"""When the guardian acts, as it may be set."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from perpbot.guardian.settings import Flatten, GuardianSettings


def test_what_is_set_out_of_the_box() -> None:
    """Takes over after 10 s, flattens what is unhedged after 30 s, holds a lease of half."""
    settings = GuardianSettings()
    assert (settings.silence_s, settings.flatten_after_s) == (10.0, 30.0)
    assert settings.flatten is Flatten.UNHEDGED
    assert settings.lease_s == 5.0


@pytest.mark.parametrize(
    "changes",
    [{"heartbeat_interval_s": 3.0}, {"silence_s": 40.0}],
    ids=["too few heartbeats", "flattens before it takes over"],
)
def test_times_that_contradict_each_other(changes: dict[str, float]) -> None:
    """The text names both."""
    with pytest.raises(ValidationError, match="silence_s"):
        GuardianSettings(**changes)

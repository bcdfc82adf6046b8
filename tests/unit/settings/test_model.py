"""How rooms declare settings."""

from __future__ import annotations

from decimal import Decimal
from typing import Self

import pytest
from pydantic import ValidationError, model_validator
from pydantic_core import PydanticCustomError

from perpbot.settings import (
    SettingsModel,
    apply_overrides,
    demand,
    demand_whole,
    leaves,
    overrides_of,
    setting,
)
from perpbot.settings.model import Relation


class LimitSettings(SettingsModel):
    """Limits."""

    low: int = setting(1, "Low.", unit="s", ge=0, le=100, override=True)
    high: int = setting(10, "High.", unit="s", ge=0, le=100, override=True)
    money: Decimal | None = setting(None, "Money.", unit="USD", gt=0, override=True)
    fixed: str = setting("x", "Not overridable.")
    switch: bool = setting(default=True, description="A switch.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return demand(self, "low", "at most", "high")


LimitOverrides = overrides_of(LimitSettings)


@pytest.mark.parametrize(
    "values",
    [
        {"low": True},
        {"money": False},
        {"low": 1.5},
        {"money": float("nan")},
        {"money": "inf"},
        {"fixed": True},
        {"unknown": 1},
        {"low": 101},
        {"low": None},
    ],
    ids=str,
)
def test_a_wrong_value_is_refused(values: dict[str, object]) -> None:
    """Booleans are no numbers, NaN is no number, unknown keys are no keys."""
    with pytest.raises(ValidationError):
        LimitSettings.model_validate(values)


def test_a_model_does_not_change() -> None:
    """Settings are frozen."""
    with pytest.raises(ValidationError):
        LimitSettings().low = 5  # type: ignore[misc]


def test_overrides_keep_the_limits_and_leave_out_the_rest() -> None:
    """A block may set what the room marked, within the room's own range."""
    assert list(LimitOverrides.model_fields) == ["low", "high", "money"]
    assert next(note.limits for note in leaves(LimitOverrides)) == "at least 0, at most 100"
    with pytest.raises(ValidationError):
        LimitOverrides.model_validate({"low": 101})
    with pytest.raises(ValidationError):
        LimitOverrides.model_validate({"fixed": "y"})


def test_later_blocks_win_and_none_changes_nothing() -> None:
    """Blocks are applied in turn; what a block does not say stays."""
    base = LimitSettings()
    wide = LimitOverrides.model_validate({"low": 2, "high": 20})
    narrow = LimitOverrides.model_validate({"low": 3, "high": None})

    assert apply_overrides(base) is base
    assert apply_overrides(base, None) is base
    result = apply_overrides(base, wide, None, narrow)
    assert (result.low, result.high, result.fixed) == (3, 20, "x")


def test_an_override_that_contradicts_the_rest_is_refused() -> None:
    """A block is judged together with what it is put over."""
    with pytest.raises(ValidationError, match=r"was 11 s: at most high \(10 s\) was expected"):
        apply_overrides(LimitSettings(), LimitOverrides.model_validate({"low": 11}))


def test_a_unit_is_the_last_word_of_a_name() -> None:
    """As the page of settings has it; other names tell theirs."""

    class Waits(SettingsModel):
        """Waits."""

        wait_ms: int = setting(1, "Wait.")
        seconds: int = setting(1, "Length.", unit="s")
        ms: int = setting(1, "No unit: the whole name is the word.")

    assert [note.unit for note in leaves(Waits)] == ["ms", "s", ""]


@pytest.mark.parametrize(
    ("low", "relation", "said"),
    [(10, "below", "below high"), (9, "at least", "at least high"), (11, "at most", "at most")],
)
def test_two_fields_that_are_not_as_they_should_be(
    low: int, relation: Relation, said: str
) -> None:
    """The message names both, with their values; the border belongs to all but `below`."""
    with pytest.raises(PydanticCustomError, match=said):
        demand(LimitSettings.model_construct(low=low, high=10), "low", relation, "high")
    if relation != "below":
        demand(LimitSettings.model_construct(low=10, high=10), "low", relation, "high")


def test_shares_make_a_whole() -> None:
    """Floats to their rounding, decimals exactly."""

    class Shares(SettingsModel):
        """Shares."""

        one: float = setting(0.7, "One.")
        other: float = setting(0.3, "Other.")
        half: Decimal = setting(Decimal("0.5"), "Half.")
        rest: Decimal = setting(Decimal("0.50000000001"), "Rest.")

    demand_whole(Shares(one=0.1 + 0.2, other=0.7), "one", "other")
    with pytest.raises(PydanticCustomError, match=r"sum to 0.9: one \(0.7\), other \(0.2\)"):
        demand_whole(Shares(other=0.2), "one", "other")
    with pytest.raises(PydanticCustomError, match=r"half \(0.5\), rest"):
        demand_whole(Shares(), "half", "rest")

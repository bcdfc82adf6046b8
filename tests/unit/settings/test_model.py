"""How rooms declare settings."""

from __future__ import annotations

from decimal import Decimal
from typing import Self

import pytest
from pydantic import ValidationError, model_validator

from perpbot.settings import (
    SettingsModel,
    apply_overrides,
    contradiction,
    leaves,
    overrides_of,
    setting,
)


class LimitSettings(SettingsModel):
    """Limits."""

    low: int = setting(1, "Low.", unit="s", ge=0, le=100, override=True)
    high: int = setting(10, "High.", unit="s", ge=0, le=100, override=True)
    money: Decimal | None = setting(None, "Money.", unit="USD", gt=0, override=True)
    fixed: str = setting("x", "Not overridable.")
    switch: bool = setting(default=True, description="A switch.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise contradiction(f"was {self.low}: at most {self.high} was expected", "low", "high")
        return self


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
    with pytest.raises(ValidationError, match="was 11: at most 10"):
        apply_overrides(LimitSettings(), LimitOverrides.model_validate({"low": 11}))

"""How a room declares its settings: a frozen model whose every field has a text, a unit, a range.

    class RiskSettings(SettingsModel):
        max_slippage_bps: float = setting(
            10.0, "Most slippage an order may plan.", ge=0, le=1_000, override=True
        )

The last word of a name is its unit (`UNITS`); a field without one names its unit, if it has any.
`override=True` lets a venue or symbol block replace the value. `demand`, `demand_whole` and
`contradiction` refuse values that are right one by one and wrong together.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, create_model, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

ModelT = TypeVar("ModelT", bound="SettingsModel")

UNITS = {"bps": "bps", "mb": "MB", "ms": "ms", "ratio": "ratio", "s": "s", "usd": "USD"}
"""What the last word of a name says about the value."""
Relation = Literal["at most", "at least", "below"]
_HOLDS: Mapping[Relation, Callable[[Any, Any], bool]] = {
    "at most": operator.le,
    "at least": operator.ge,
    "below": operator.lt,
}
_ROUNDING = 1e-9


class SettingsModel(BaseModel):
    """Base of every settings model: unknown keys, NaN, infinities and changes are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **_options: Any) -> None:
        """Read the units of fields from their names."""
        for name, field in cls.model_fields.items():
            _, _, last = name.rpartition("_")
            extra = field_extra(field)
            if extra and last in UNITS and last != name:
                extra["unit"] = UNITS[last]

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_boolean_numbers(cls, value: object, info: ValidationInfo) -> object:
        # Pydantic reads `yes` as 1 for a number field; a limit of 1 is never what was meant.
        if isinstance(value, bool) and bool not in _alternatives(_annotation(cls, info)):
            raise PydanticCustomError("boolean", "a boolean was not expected")
        return value


def setting(
    default: object,
    description: str,
    *,
    unit: str = "",
    override: bool = False,
    **limits: Any,
) -> Any:
    """Declare a field. `limits` are pydantic's: `ge`, `gt`, `le`, `lt`, `min_length`, ...

    `unit` is for names that do not end in one.
    """
    extra: dict[str, Any] = {"unit": unit, "override": override}
    return Field(default, description=description, json_schema_extra=extra, **limits)


def contradiction(message: str, *keys: str) -> PydanticCustomError:
    """Return the error to raise from a model validator: `keys` are the fields that disagree."""
    return PydanticCustomError("contradiction", "{message}", {"message": message, "keys": keys})


def demand(model: ModelT, name: str, relation: Relation, other: str) -> ModelT:
    """Refuse a model in which two fields are not as they should be: `"low", "at most", "high"`."""
    value, bound = getattr(model, name), getattr(model, other)
    if not _HOLDS[relation](value, bound):
        raise contradiction(
            f"was {_worded(model, name)}: {relation} {other} ({_worded(model, other)})"
            " was expected",
            name,
            other,
        )
    return model


def demand_whole(model: ModelT, *names: str) -> ModelT:
    """Refuse a model in which these shares do not sum to 1."""
    total = sum(getattr(model, name) for name in names)
    if abs(total - 1) > (_ROUNDING if isinstance(total, float) else 0):
        told = ", ".join(f"{name} ({getattr(model, name)})" for name in names)
        raise contradiction(f"makes the shares sum to {total:g}: {told} must sum to 1", *names)
    return model


def _worded(model: SettingsModel, name: str) -> str:
    value = getattr(model, name)
    number = f"{value:g}" if isinstance(value, float) else str(value)
    unit = field_extra(type(model).model_fields[name])["unit"]
    return f"{number} {unit}" if unit in {"s", "ms", "MB"} else number


def field_extra(field: FieldInfo) -> dict[str, Any]:
    """Return what `setting` noted about a field: `unit` and `override`."""
    extra = field.json_schema_extra
    return cast("dict[str, Any]", extra) if isinstance(extra, dict) else {}


def overrides_of(model: type[SettingsModel]) -> type[SettingsModel]:
    """Return a model of the overridable fields of `model`, each optional, with the same limits."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if field_extra(field).get("override"):
            kind: Any = field.annotation
            fields[name] = (
                _annotated(kind | None, field.metadata),
                Field(
                    None,
                    description=field.description,
                    json_schema_extra=field.json_schema_extra,
                ),
            )
    name = model.__name__.replace("Settings", "Overrides")
    return create_model(name, __base__=SettingsModel, __doc__=model.__doc__, **fields)


def apply_overrides(base: ModelT, *blocks: SettingsModel | None) -> ModelT:
    """Return `base` with each block's values put over it in turn, validated as a whole.

    Raises `pydantic.ValidationError` when the values together break a rule of the model.
    """
    changes: dict[str, Any] = {}
    for block in blocks:
        if block is not None:
            said = {name: getattr(block, name) for name in block.model_fields_set}
            changes |= {name: value for name, value in said.items() if value is not None}
    if not changes:
        return base
    values = {name: getattr(base, name) for name in type(base).model_fields}
    return type(base).model_validate(values | changes)


def _annotated(kind: Any, metadata: list[Any]) -> Any:
    form: Any = Annotated
    return form[(kind, *metadata)] if metadata else kind


def _annotation(model: type[BaseModel], info: ValidationInfo) -> Any:
    return model.model_fields[info.field_name or ""].annotation


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in {Union, types.UnionType}:
        return get_args(annotation)
    return (annotation,)

"""The base of every set of settings: frozen, validated, serialisable."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import InputError

__all__ = ["Values", "describe"]


class Values(BaseModel):
    """A frozen set of values that refuses unknown names and impossible numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(describe(error)) from None

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some values changed; unlike ``model_copy`` it validates them."""
        return type(self)(**{**dict(self), **changes})


def describe(error: ValidationError) -> str:
    """Turn the first problem that pydantic found into one sentence."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "configuration"
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"Setting '{name}' is not valid: {reason[:1].lower()}{reason[1:]}."

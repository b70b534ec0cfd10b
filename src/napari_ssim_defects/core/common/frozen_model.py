"""Base class of all settings: frozen, validated, serialisable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import InputError

if TYPE_CHECKING:  # a private name that type checkers understand
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

__all__ = ["FrozenModel", "describe", "refused"]


class _Spoken(ModelMetaclass):
    """Turns the error of an invalid setting into one sentence when a model is created.

    This is not done in ``__init__``, because pydantic calls that for nested settings too and then
    loses their location and strict mode.
    """

    def __call__(cls, *arguments: Any, **values: Any) -> Any:
        try:
            return super().__call__(*arguments, **values)
        except ValidationError as error:
            raise InputError(describe(error)) from None


class FrozenModel(BaseModel, metaclass=_Spoken):
    """A frozen set of values that refuses unknown names and impossible numbers.

    An alias is the name of a field in files, where that is another one.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True
    )

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return the values under their names in files."""
        return super().model_dump(**{"by_alias": True, **options})

    def model_dump_json(self, **options: Any) -> str:
        """Return the values as JSON, under their names in files."""
        return super().model_dump_json(**{"by_alias": True, **options})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some values changed; unlike ``model_copy`` it validates them."""
        return type(self)(**{**dict(self), **changes})


def describe(error: ValidationError) -> str:
    """Turn the first problem that pydantic found into one sentence."""
    name, reason = refused(error)
    return f"Setting '{name}' is not valid: {reason}."


def refused(error: ValidationError) -> tuple[str, str]:
    """Return the name of the first setting that pydantic refused, with dots, and why."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "configuration"
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    return name, f"{reason[:1].lower()}{reason[1:]}"

"""Base class of all settings: frozen, validated, serialisable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import InputError

if TYPE_CHECKING:  # a private name that type checkers understand
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

__all__ = ["FrozenModel", "Shown", "describe", "refused", "shown"]


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


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What command line and panel show of a setting.

    Fields are annotated with the first four attributes; `shown` adds the others from the field's
    type, range and docstring.

    Attributes
    ----------
    label
        Its name; "" = the name of the field.
    unit
        What a number counts.
    step
        Distance of the values that a number may have.
    texts
        Names of the values of a choice, and of None.
    help
        Sentences about it.
    kind
        Type of a number or a switch; of the values of a choice.
    limits
        Range of a number, ``"ge"``, ``"gt"`` and ``"le"``, as far as it has one.
    choices
        The values of a choice.
    optional
        Whether it may be None.
    default
        Its default value.
    """

    label: str = ""
    unit: str = ""
    step: int = 1
    texts: Mapping[Any, str] = field(default_factory=dict)
    help: str = ""
    kind: type = str
    limits: Mapping[str, float] = field(default_factory=dict)
    choices: tuple[Any, ...] = ()
    optional: bool = False
    default: Any = None


def shown(model: type[FrozenModel], name: str) -> Shown:
    """Return what is shown of one of a model's numbers, switches or choices."""
    info = model.model_fields[name]
    kind: Any = info.annotation
    facts = [*info.metadata]
    optional = type(None) in get_args(kind)
    if optional:  # then the facts about the number stand inside of the union
        kind = get_args(kind)[0]
    if get_origin(kind) is Annotated:
        kind, *inner = get_args(kind)
        facts += [fact for each in inner for fact in getattr(each, "metadata", [each])]
    names = ("ge", "gt", "le", "multiple_of")
    limits = {key: getattr(fact, key) for fact in facts for key in names if hasattr(fact, key)}
    said = next((fact for fact in facts if isinstance(fact, Shown)), Shown())
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    return replace(
        said,
        label=said.label or name.replace("_", " ").capitalize(),
        step=limits.pop("multiple_of", said.step),
        help=" ".join((info.description or "").split()),
        kind=type(choices[0]) if choices else kind,
        limits=limits,
        choices=choices,
        optional=optional,
        default=info.default,
    )


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

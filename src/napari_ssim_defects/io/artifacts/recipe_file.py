"""Recipes as TOML files: readable, checked setting by setting, with paths beside the file."""

from __future__ import annotations

import glob
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from ...core.common.errors import InputError
from ...core.common.frozen_model import refused
from ..files.atomic import atomic_path
from ..files.errors import reading
from .recipe import Recipe

__all__ = ["RECIPE_VERSION", "read_recipe", "write_recipe"]

RECIPE_VERSION = 1
"""Version of the recipes that this package writes, and the newest that it reads."""

_SCHEMA = "napari-ssim-defects recipe"
_LARGEST = 2**22  # bytes; tens of thousands of images by name
_HEAD = """\
# What it says is done by:  napari-ssim-defects run THIS_FILE
# Paths are relative to the folder of this file.

"""


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe; nothing in it is executed.

    Parameters
    ----------
    path
        A TOML file, as `write_recipe` or a person writes it.

    Returns
    -------
    Recipe
        With paths that are relative in the file put into its folder.

    Raises
    ------
    InputError
        If it cannot be read, is no recipe or from a newer version, or a setting in it is unknown,
        missing or impossible. The sentence names file and setting.
    """
    file = Path(path)
    with reading(file, "a recipe"):
        recipe = _validated(file, _table(file))
    return _relocated(recipe, lambda text: _resolved(text, file.absolute().parent))


def write_recipe(recipe: Recipe, path: str | os.PathLike[str]) -> None:
    """Write a recipe, every setting of it, whole or not at all.

    Parameters
    ----------
    recipe
        The recipe. Paths in the folder of the file become relative to it, so that the folder can
        be moved; others become absolute.
    path
        The file, usually with the suffix ``.toml``; one that exists is replaced.

    Raises
    ------
    InputError
        If the file cannot be written, or is too long.
    """
    file = Path(path)
    folder = file.absolute().parent
    portable = _relocated(recipe, lambda text: _relative(text, folder))
    try:
        settings = portable.model_dump(mode="json", exclude_none=True)
        head = {"schema": _SCHEMA, "version": RECIPE_VERSION}
        text = (_HEAD + tomli_w.dumps({**head, **settings})).encode()
    except ValueError:  # bytes in the names of files that are no text
        raise InputError(
            "The name of an image, folder or model is no text, which a recipe cannot hold; rename "
            "the file or the folder."
        ) from None
    if len(text) > _LARGEST:
        raise InputError("The recipe names too many images; name their folder instead.")
    with atomic_path(file) as temporary:
        temporary.write_bytes(text)


def _table(file: Path) -> dict[str, Any]:
    """Return the settings of a file of this schema."""
    with file.open("rb") as stream:
        content = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise InputError(
            f"'{file}' is larger than any recipe; choose a file that begins like a recipe."
        )
    try:
        table = tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError:
        raise InputError(f"'{file}' is no text in UTF-8; save it as such.") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"'{file}' is not valid TOML: {error}; correct it.") from None
    schema, version = table.pop("schema", None), table.pop("version", None)
    if schema != _SCHEMA or type(version) is not int or version < 1:
        raise InputError(
            f"'{file}' is not a recipe; choose a file that has the lines "
            f"'schema = \"{_SCHEMA}\"' and 'version = {RECIPE_VERSION}'."
        )
    if version > RECIPE_VERSION:
        raise InputError(
            f"'{file}' was written for a newer version of napari-ssim-defects (recipe {version}, "
            f"this one reads {RECIPE_VERSION}); update the package."
        )
    return table


def _validated(file: Path, table: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(_frozen(table), strict=True)
    except ValidationError as error:
        kind = error.errors()[0]["type"]
        name, reason = refused(error)
        if kind == "extra_forbidden":
            text = f"the setting '{name}' is not known; correct its name or remove it"
        elif kind == "missing":
            text = f"the setting '{name}' is missing; add it"
        elif name == "configuration":
            text = reason
        else:
            text = f"the setting '{name}' is not valid: {reason}"
            text += "" if ";" in reason else "; correct it"
        raise InputError(f"In '{file}' {text}.") from None


def _frozen(value: Any) -> Any:
    """Return a value with tuples instead of lists, as settings have them."""
    if isinstance(value, dict):
        return {name: _frozen(item) for name, item in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _relocated(recipe: Recipe, change: Callable[[str], str]) -> Recipe:
    """Return a recipe with other paths."""

    def path(value: Path | None) -> Path | None:
        return None if value is None else Path(change(str(value)))

    def paths(values: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(Path(change(str(value))) for value in values)

    training, detection = recipe.training, recipe.detection
    if training is not None:
        training = training.replace(
            images=paths(training.images),
            masks=path(training.masks),
            alexnet=path(training.alexnet),
        )
    if detection is not None:
        detection = detection.replace(images=paths(detection.images), folder=path(detection.folder))
    return recipe.replace(model=path(recipe.model), training=training, detection=detection)


def _resolved(text: str, folder: Path) -> str:
    """Return where a path of a file in a folder lies; brackets in the folder are no pattern."""
    path = folder / _home(text)
    if glob.has_magic(text) and not path.exists():
        path = Path(glob.escape(str(folder))) / _home(text)
    return str(path)


def _relative(text: str, folder: Path) -> str:
    path = Path(_home(text)).absolute()
    inside = path.is_relative_to(folder) and not str(path.relative_to(folder)).startswith("~")
    return (path.relative_to(folder) if inside else path).as_posix()


def _home(text: str) -> str:
    """Put in the home folder; any other name that begins like it is a name."""
    return str(Path(text).expanduser()) if text == "~" or text.startswith("~/") else text

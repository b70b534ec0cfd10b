"""The whole job as values: as a TOML file, a line of the shell, or a Python program.

Paths in a file are relative to its folder.
"""

from __future__ import annotations

import glob
import os
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import tomli_w
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, model_validator

from ...core.common.errors import InputError
from ...core.common.frozen_model import FrozenModel, Shown, refused
from ...core.config import OutputConfig, ResidualKind, SegmentationConfig, TrainingConfig
from ...core.config.region import MaskRegion, RegionOfInterest
from ...core.model.thresholds import FixedThreshold, ThresholdPolicy, parse_threshold
from ..files.atomic import atomic_path
from ..files.errors import reading

if TYPE_CHECKING:
    from ...core.model.defect_model import DefectModel

__all__ = [
    "RECIPE_VERSION",
    "DetectionRecipe",
    "DetectionSettings",
    "Recipe",
    "TrainingRecipe",
    "detection_line",
    "detection_program",
    "read_recipe",
    "write_recipe",
]

RECIPE_VERSION = 1
"""Version of the recipes that this package writes, and the newest that it reads."""

_SCHEMA = "napari-ssim-defects recipe"
_LARGEST = 2**22  # bytes; tens of thousands of images by name
_HEAD = """\
# What it says is done by:  napari-ssim-defects run THIS_FILE
# Paths are relative to the folder of this file.

"""


def _policy(value: object) -> object:
    """Read a threshold as files and the command line write it: a number, or a short text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return FixedThreshold(value=float(value))
    return parse_threshold(value) if isinstance(value, str) else value


def _path(value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        raise ValueError("the path contains a null character")
    return Path(value) if isinstance(value, str) else value


def _policy_text(policy: ThresholdPolicy) -> float | str:
    return policy.value if isinstance(policy, FixedThreshold) else str(policy)


_Threshold = Annotated[ThresholdPolicy, BeforeValidator(_policy), PlainSerializer(_policy_text)]
# In a file paths are text, with slashes on every system.
_Path = Annotated[Path, BeforeValidator(_path), PlainSerializer(Path.as_posix, when_used="json")]
_AS_TRAINED = Shown(unit="px", texts={None: "as trained"})
_Inputs = Annotated[tuple[_Path, ...], Field(min_length=1)]


class TrainingRecipe(FrozenModel):
    """Everything that decides about a model.

    Instead of all values of ``config`` it takes some of them, and the name of a ``preset`` that has
    the others; without a name it is ``"quick"``.

    Attributes
    ----------
    images
        Images of good material: files, folders or patterns (see `find_images`).
    masks
        Folder with one mask for each of them (see `match_masks`): what is not zero there is good.
        None: all of it is.
    roi
        What of all of them is learnt; None: all that the masks leave.
    config
        The settings.
    auto_threshold
        How the model's automatic threshold follows from good images; None: as `DefectModel` does.
    device
        Where the network runs; None: the fastest there is.
    alexnet
        File with AlexNet's weights for the system ``fmae``; None: they are downloaded once.

    Examples
    --------
    >>> recipe = TrainingRecipe(images=["good/"], config={"epochs": 5}, auto_threshold="fpr:0.01")
    >>> recipe.config.name, recipe.config.minutes, recipe.auto_threshold.rate
    ('quick', None, 0.01)
    """

    images: _Inputs
    masks: _Path | None = None
    roi: RegionOfInterest | None = None
    config: TrainingConfig
    auto_threshold: _Threshold | None = None
    device: str | None = None
    alexnet: _Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: Any) -> Any:
        """Complete the settings by those of a preset."""
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        changes = values.get("config", {})
        if isinstance(changes, Mapping):
            preset = values.pop("preset", "quick")
            values["config"] = TrainingConfig.preset_values(str(preset), changes)
        return values


class DetectionSettings(FrozenModel, use_attribute_docstrings=True):
    """Everything that decides about the files that a detection writes, but for model and images."""

    threshold: _Threshold | None = None
    """How the threshold is chosen; None: as the model does, ``"auto"`` in a file."""

    residual: Annotated[ResidualKind, Shown(texts={None: "as the model is"})] | None = None
    """What images are compared by."""

    stride: Annotated[int, Field(ge=1), _AS_TRAINED] | None = None
    """Distance between patches. Smaller is smoother and slower."""

    roi: RegionOfInterest | None = None
    """What of the images is inspected; None: all. The residual of the rest is 0."""

    segmentation: SegmentationConfig = SegmentationConfig()
    """What is outlined."""

    outputs: OutputConfig = OutputConfig()
    """What is written."""

    report: bool = False
    """Whether report.html, a page with the worst images, is written, too."""

    pixel_size: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """What counts instead of the pixel size in the files; None: what the files say."""

    unit: str = "um"
    """Unit of the pixel size; pixel: no scale."""

    device: Annotated[str, Shown(texts={None: "the fastest available"})] | None = None
    """Where the network runs: auto, cpu, cuda, mps or xpu."""

    cluster: Annotated[str, Shown("Address", texts={None: "this computer"})] | None = None
    """Address of a scheduler of dask.distributed whose workers inspect the images, such as
    tcp://host:8786; they need the same paths."""

    @model_validator(mode="before")
    @classmethod
    def _automatic(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("threshold") == "auto":
            return {**values, "threshold": None}
        return values

    def threshold_for(self, model: DefectModel) -> float:
        """Return the residual above which a pixel is a candidate."""
        if self.threshold is None:
            return model.auto_threshold
        return self.threshold.threshold_for(model.corrected.calibration)


class _Places(FrozenModel, use_attribute_docstrings=True):
    images: _Inputs
    """Images to inspect: files, folders or patterns (see `find_images`)."""

    folder: _Path
    """Where results go."""


class DetectionRecipe(DetectionSettings, _Places):  # places come first in a file
    """A detection: which images, where its results go, and its settings."""


class Recipe(FrozenModel):
    """A job that needs no further decision: to train a model, to detect with it, or both.

    Attributes
    ----------
    model
        Model file that the training writes, or that is there, and that the detection uses.
    training, detection
        What to do; one of them may be None.
    """

    model: _Path
    training: TrainingRecipe | None = None
    detection: DetectionRecipe | None = None

    @model_validator(mode="after")
    def _has_something_to_do(self) -> Self:
        if self.training is None and self.detection is None:
            raise ValueError("there is neither a [training] nor a [detection]; add one of them")
        return self


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
    except ValueError:  # bytes in the names of files that are not text
        raise InputError(
            "The name of an image, folder or model is not valid text, so a recipe cannot hold it; "
            "rename the file or the folder."
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
        raise InputError(f"'{file}' is too large for a recipe; choose a recipe file.")
    try:
        table = tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError:
        raise InputError(f"'{file}' is not text in UTF-8; save it in this encoding.") from None
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

    def region(value: RegionOfInterest | None) -> RegionOfInterest | None:
        return (
            MaskRegion(path=Path(change(str(value.path))))
            if isinstance(value, MaskRegion)
            else value
        )

    training, detection = recipe.training, recipe.detection
    if training is not None:
        training = training.replace(
            images=paths(training.images),
            masks=path(training.masks),
            roi=region(training.roi),
            alexnet=path(training.alexnet),
        )
    if detection is not None:
        detection = detection.replace(
            images=paths(detection.images),
            folder=path(detection.folder),
            roi=region(detection.roi),
        )
    return recipe.replace(model=path(recipe.model), training=training, detection=detection)


def _resolved(text: str, folder: Path) -> str:
    """Return where a path of a file in a folder lies; brackets in the folder are not a pattern."""
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


def detection_line(model: Path, recipe: DetectionRecipe) -> str:
    """Return the line of the shell that detects with a model file."""
    words = ["napari-ssim-defects", "detect", str(model), *map(str, recipe.images)]
    words += ["-o", str(recipe.folder)]
    words += ["--threshold", "auto" if recipe.threshold is None else str(recipe.threshold)]
    for name in ("residual", "stride", "roi"):
        if (value := getattr(recipe, name)) is not None:
            words += [f"--{name}", str(value)]
    for name, value in _decisive(recipe.segmentation).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", repr(value)]
    words += ["--save", ",".join(recipe.outputs.kinds), "--format", recipe.outputs.format]
    if recipe.report:
        words.append("--report")
    if recipe.pixel_size is not None:
        words += ["--pixel-size", ",".join(map(repr, recipe.pixel_size)), "--unit", recipe.unit]
    if recipe.device not in (None, "auto"):
        words += ["--device", str(recipe.device)]
    if recipe.cluster is not None:
        words += ["--cluster", recipe.cluster]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def detection_program(model: Path, recipe: DetectionRecipe) -> str:
    """Return the Python program that detects with a model file."""
    return "\n".join([*_lines(model, recipe), ""])


def _lines(model: Path, recipe: DetectionRecipe) -> Iterator[str]:
    yield "from pathlib import Path"
    yield ""
    yield "from napari_ssim_defects import DefectModel"
    yield "from napari_ssim_defects.io.artifacts.recipe import DetectionSettings"
    yield "from napari_ssim_defects.io.images.image_file import find_images"
    yield "from napari_ssim_defects.scale.folders import FileDone, FileFailed, detect_files"
    yield ""
    yield f"model = DefectModel.load({str(model)!r})"
    yield "images = ["
    yield from (f"    {str(path)!r}," for path in recipe.images)
    yield "]"
    yield "settings = DetectionSettings("
    settings = recipe.model_dump(mode="json", exclude_none=True, exclude={"images", "folder"})
    settings["segmentation"] = _decisive(recipe.segmentation)
    yield from (f"    {name}={value!r}," for name, value in settings.items())
    yield ")"
    yield ""
    yield f"folder = Path({str(recipe.folder)!r})"
    yield f"name = {model.stem!r}"
    yield "for message in detect_files(model, find_images(images), folder, settings, name=name):"
    yield "    if isinstance(message, FileDone):"
    yield '        print(f"{message.path.name}: {message.regions} regions")'
    yield "        for notice in message.notices:"
    yield "            print(notice)"
    yield "    elif isinstance(message, FileFailed):"
    yield "        print(message.reason)"


def _decisive(config: SegmentationConfig) -> Mapping[str, Any]:
    """Return all values but those that decide nothing beside the others."""
    values = {name: value for name, value in config.model_dump().items() if value is not None}
    if config.review_threshold is None:
        del values["hysteresis"]
    return values

"""The whole job as values: training, detection, or both, with the model file between them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from ...core.common.frozen_model import Values
from ...core.config import ResidualKind, SegmentationConfig, TrainingConfig
from ...core.config.outputs import OutputConfig
from ...core.model.thresholds import FixedThreshold, ThresholdPolicy, parse_threshold

__all__ = ["DetectionRecipe", "Recipe", "TrainingRecipe"]


def _policy(value: object) -> object:
    """Read a threshold as files and the command line write it: a number, or a short text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return FixedThreshold(value=float(value))
    return parse_threshold(value) if isinstance(value, str) else value


def _path(value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        raise ValueError("there is a zero in the path, which no file has")
    return Path(value) if isinstance(value, str) else value


def _policy_text(policy: ThresholdPolicy) -> float | str:
    return policy.value if isinstance(policy, FixedThreshold) else str(policy)


_Threshold = Annotated[ThresholdPolicy, BeforeValidator(_policy), PlainSerializer(_policy_text)]
# In a file paths are text, with slashes on every system.
_Path = Annotated[Path, BeforeValidator(_path), PlainSerializer(Path.as_posix, when_used="json")]
_Inputs = Annotated[tuple[_Path, ...], Field(min_length=1)]


class TrainingRecipe(Values):
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
    config
        The settings.
    auto_threshold
        How the model's automatic threshold follows from good images; None: as `DefectModel` does.
    device
        Where the network runs; None: the fastest there is.
    alexnet
        File with AlexNet's weights for the system ``fmae``; None: they are fetched once.

    Examples
    --------
    >>> recipe = TrainingRecipe(images=["good/"], config={"epochs": 5}, auto_threshold="fpr:0.01")
    >>> recipe.config.name, recipe.config.minutes, recipe.auto_threshold.rate
    ('quick', None, 0.01)
    """

    images: _Inputs
    masks: _Path | None = None
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


class DetectionRecipe(Values):
    """Everything that decides about the files that a detection writes, but for the model.

    Attributes
    ----------
    images
        Images to inspect: files, folders or patterns (see `find_images`).
    folder
        Where results go.
    threshold
        How the threshold is chosen; None: as the model does, ``"auto"`` in a file.
    residual
        What images are compared by; None: as the model is.
    stride
        Distance between patches, in pixels; None: as the model was trained.
    segmentation
        What is outlined.
    outputs
        What is written.
    report
        Whether a page with the worst images is written, too.
    pixel_size, unit
        What counts instead of the pixel size in the files, and its unit; None: what the files say.
    device
        Where the network runs; None: the fastest there is.
    cluster
        Address of a scheduler of dask.distributed whose workers do it; None: this computer.
    """

    images: _Inputs
    folder: _Path
    threshold: _Threshold | None = None
    residual: ResidualKind | None = None
    stride: Annotated[int, Field(ge=1)] | None = None
    segmentation: SegmentationConfig = SegmentationConfig()
    outputs: OutputConfig = OutputConfig()
    report: bool = False
    pixel_size: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    unit: str = "um"
    device: str | None = None
    cluster: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _automatic(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("threshold") == "auto":
            return {**values, "threshold": None}
        return values


class Recipe(Values):
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

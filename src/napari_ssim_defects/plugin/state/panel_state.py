"""Everything that the panel shows and edits, as one evented model without Qt."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from psygnal import EventedModel
from pydantic import Field

from ...core.config import (
    OutputConfig,
    SegmentationConfig,
    SSIMConfig,
    SSIMResidual,
    System,
    TrainingConfig,
)
from .batch_state import BatchState

if TYPE_CHECKING:
    from ...core.evaluation.scores import CurveSet

__all__ = [
    "MARK",
    "Activity",
    "EvaluationSummary",
    "ImageSummary",
    "LossPoint",
    "PanelState",
    "RegionKey",
    "RegionSummary",
    "RegionTable",
    "SessionModel",
]

Activity = Literal[
    "idle",
    "training",
    "detecting",
    "saving",
    "opening",
    "labelling",
    "exporting",
    "evaluating",
    "measuring",
    "comparing",
    "inspecting",
]
"""Activity of the background thread; another one can begin only when it is "idle"."""


RegionKey = tuple[int, int]
"""Plane and label of a region."""

MARK = "mark"
"""Column of a `RegionTable` that says what a person marked a region as."""


@dataclass(frozen=True, slots=True)
class LossPoint:
    """One point of the loss curve: seconds since the first step, and the losses."""

    seconds: float
    loss: float
    validation_loss: float | None


@dataclass(frozen=True, slots=True)
class RegionSummary:
    """Regions of the current heatmap at the current threshold.

    Attributes
    ----------
    regions
        Number of defects.
    pixels
        Number of pixels in them.
    area
        The same in world units with the unit, for example ``"12.5 µm²"``; "" without units.
    review_regions, review_pixels
        The same of what lies between two thresholds.
    good
        Number of regions that do not count because they were marked good.
    complete
        Whether all planes are counted; else the visible one only.
    """

    regions: int
    pixels: int
    area: str
    review_regions: int = 0
    review_pixels: int = 0
    good: int = 0
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """Regions of any heatmap at its threshold, over all planes.

    Attributes
    ----------
    regions, largest
        Number of defects, and pixels of the largest of them; 0 without any.
    share
        Part of the pixels that lies in defects, in [0, 1].
    """

    regions: int
    largest: int
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class RegionTable:
    """Measurements of the regions of a Labels layer.

    Attributes
    ----------
    columns
        Arrays of equal length by the names of the columns of ``regions.csv``. ``image`` is left
        out, ``plane`` for single images, and what is in units for layers without. `MARK` is added
        if a region of the image is marked.
    unit
        Unit of length of the columns in units; "" without.
    """

    columns: Mapping[str, npt.NDArray[Any]]
    unit: str

    def __len__(self) -> int:
        return len(self.columns["label"])

    def key(self, row: int) -> RegionKey:
        """Return plane and label of a region, which stay when the table changes."""
        plane = self.columns["plane"][row] if "plane" in self.columns else 0
        return int(plane), int(self.columns["label"][row])

    def row(self, key: RegionKey) -> int | None:
        """Return the row of a region; None if there is none."""
        plane, label = key
        found = self.columns["label"] == label
        if "plane" in self.columns:
            found = found & (self.columns["plane"] == plane)
        rows = np.flatnonzero(found)
        return int(rows[0]) if len(rows) else None


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationSummary:
    """Scores of a heatmap against ground truth: a table of texts, curves, and the main result.

    Without a defect there are no curves.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    curves: tuple[CurveSet, ...]
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class SessionModel:
    """A model of this session.

    Attributes
    ----------
    model, name, path
        The `DefectModel`, what the panel calls it, and its file; None: it has none.
    saved
        What that file holds; another one than the model if a person has marked regions since.
    """

    model: Any
    name: str
    path: Path | None = None
    saved: Any = None

    @property
    def title(self) -> str:
        """The name, and whether something would be lost without saving it."""
        if self.path is None:
            return f"{self.name}, not saved"
        return self.name if self.model is self.saved else f"{self.name}, changed since it was saved"


class PanelState(EventedModel):
    """The state that views bind to and the controller works on.

    Attributes
    ----------
    config
        Config of the next training.
    training_layers, region_layer
        Image layers to train on; Labels or Shapes layer that limits them, or None.
    model
        The current `DefectModel`, or None.
    model_name, model_path
        What the panel calls the model; the file it was read from or saved to, None if unsaved.
    models
        Every `SessionModel` that was trained or opened in this session, the current one too.
    training_notices
        Sentences about the images of the current or last training that a person should read.
    detection_layers, inspected_layer, stride, keep_reconstruction
        Image layers to inspect; Shapes or Labels layer that limits what of them is, or None;
        stride in pixels, None for the model's; whether reconstructions become layers too.
    detection_notices
        Sentences about what was inspected last that a person should read.
    image
        The image layer that is shown, alone with what was made of it; None before one was chosen.
    heatmap
        The heatmap layer that is being segmented, or None.
    threshold, segmentation
        Residuals above ``threshold`` are defects; ``segmentation`` is the post-processing.
    shared_threshold
        Whether heatmaps that are seen side by side have one threshold, or one each.
    histogram, good_histogram
        Counts and edges of the residuals of the heatmap, and of the defect-free pixels that its
        model was calibrated on; None without one.
    auto_threshold, auto_regions
        The calibrated threshold of the model that made the heatmap, and how many regions of a
        good image are outlined at it; None if not known.
    summary
        Regions at the threshold; None while they are being computed or without a heatmap.
    overview
        Pairs of a heatmap and its `ImageSummary`, of all that are in memory; empty if there are
        less than two.
    fraction_above
        Estimated part of the pixels that lies above the threshold, in [0, 1], of a heatmap that is
        larger than memory, whose regions are found by Create labels only; None of any other.
    labels_layer, regions, selected_region
        Layer of committed regions that is listed, or None; their `RegionTable`, or None; plane
        and label of the one that is selected, or None.
    all_regions
        Pairs of every layer of committed regions and its `RegionTable`.
    good_layer
        Heatmap of a defect-free image that thresholds are measured on; None: those that the model
        was calibrated with.
    truth_layer, evaluation
        Labels layer that shows the true defects, or None; `EvaluationSummary` of the heatmap
        against it, or None.
    export_layers, export_folder
        Heatmaps to export, and where to.
    outputs, replace_files
        Files to export, and whether existing files are replaced.
    batch
        What the Folder section shows and edits.
    pace
        How many times as long as on two cores trainings take on this computer; None: not known.
    resumable
        Whether there is an interrupted training to resume.
    extendable
        Whether the training of the current model can be continued.
    activity, stopping, pausing
        Activity of the background thread, whether it was asked to stop, and whether it is paused.
    discardable
        Whether a training that was asked to stop measures its model, which can be discarded.
    progress
        Part of the activity that is done, in [0, 1]; None if not known.
    remaining
        Seconds until it is done; None if not known.
    status
        One line on what happens or happened; the same sentence as a notification's.
    status_is_error
        Whether that line is about something that went wrong.
    losses
        Loss curve of the current or last training.
    preview
        Latest `TrainingPreview`, or None.
    """

    # Layers, models and arrays are compared by identity: == on them is slow or ambiguous.
    __eq_operators__: ClassVar[dict[str, Callable[[Any, Any], bool]]] = {
        "training_layers": operator.eq,
        "region_layer": operator.is_,
        "model": operator.is_,
        "models": operator.is_,
        "detection_layers": operator.eq,
        "inspected_layer": operator.is_,
        "image": operator.is_,
        "heatmap": operator.is_,
        "overview": operator.is_,
        "histogram": operator.is_,
        "good_histogram": operator.is_,
        "labels_layer": operator.is_,
        "regions": operator.is_,
        "all_regions": operator.is_,
        "good_layer": operator.is_,
        "truth_layer": operator.is_,
        "evaluation": operator.is_,
        "export_layers": operator.eq,
        "losses": operator.is_,
        "preview": operator.is_,
    }

    config: TrainingConfig = TrainingConfig.preset("quick")
    training_layers: tuple[Any, ...] = ()
    region_layer: Any = None
    training_notices: tuple[str, ...] = ()

    model: Any = None
    model_name: str = ""
    model_path: Path | None = None
    models: tuple[SessionModel, ...] = ()

    detection_layers: tuple[Any, ...] = ()
    inspected_layer: Any = None
    detection_notices: tuple[str, ...] = ()
    stride: int | None = None
    keep_reconstruction: bool = False

    image: Any = None
    heatmap: Any = None
    threshold: float = 0.0
    shared_threshold: bool = True
    segmentation: SegmentationConfig = SegmentationConfig()
    histogram: Any = None
    good_histogram: Any = None
    auto_threshold: float | None = None
    auto_regions: float | None = None
    summary: RegionSummary | None = None
    overview: tuple[Any, ...] = ()
    fraction_above: float | None = None

    labels_layer: Any = None
    regions: Any = None
    selected_region: RegionKey | None = None
    all_regions: tuple[Any, ...] = ()

    good_layer: Any = None
    truth_layer: Any = None
    evaluation: Any = None

    export_layers: tuple[Any, ...] = ()
    export_folder: Path | None = None
    outputs: OutputConfig = OutputConfig()
    replace_files: bool = False
    batch: BatchState = Field(default_factory=BatchState)

    pace: float | None = None
    resumable: bool = False
    extendable: bool = False
    activity: Activity = "idle"
    stopping: bool = False
    pausing: bool = False
    discardable: bool = False
    progress: float | None = None
    remaining: float | None = None
    status: str = ""
    status_is_error: bool = False
    losses: tuple[LossPoint, ...] = ()
    preview: Any = None

    @property
    def busy(self) -> bool:
        """Whether the background thread is at work."""
        return self.activity != "idle"

    def use_preset(self, name: str) -> None:
        """Use the values of a preset; the system is a separate choice and stays."""
        self.config = TrainingConfig.preset(name, system=self.config.system)

    def use_system(self, system: System) -> None:
        """Choose another system, with its own residual."""
        if self.config.system != system:
            self.config = self.config.with_system(system)

    def use_window_size(self, size: int) -> None:
        """Set the side of the SSIM window, of the loss and of a residual that has just one."""
        ssim: SSIMConfig = self.config.ssim.replace(window_size=size)
        residual = self.config.residual
        if isinstance(residual, SSIMResidual) and len(residual.ssim) == 1:
            residual = residual.replace(ssim=(residual.ssim[0].replace(window_size=size),))
        self.config = self.config.replace(ssim=ssim, residual=residual)

"""The background jobs of the Folder section: to inspect files, and to open what was found."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.common.errors import InputError
from ...io.artifacts.recipe import DetectionRecipe
from ..state.batch_state import BatchImage, BatchSummary
from .jobs import Created, Fraction, create_labels
from .torch_loading import load_torch

if TYPE_CHECKING:
    from ...core.images.inspected_area import InspectedArea
    from ...core.model.defect_model import DefectModel
    from ...io.files.spatial import SpatialMetadata

__all__ = ["BatchStep", "ResultOpened", "detect_in_files", "open_result"]


_WRITE = "write {} as Region and start again to exclude it"


@dataclass(frozen=True, slots=True)
class BatchStep:
    """How far the job is.

    Attributes
    ----------
    path
        The image that is being worked on, or was last finished on a cluster.
    fraction
        Part of the images left at the start that is done, in [0, 1].
    remaining
        Seconds until all are done; None if not known.
    """

    path: Path
    fraction: float
    remaining: float | None


@dataclass(frozen=True, slots=True, eq=False)
class ResultOpened:
    """An image, and what was found in it.

    Attributes
    ----------
    data, rgb, spatial
        The image, whether its last axis is colour, and its axes.
    residual
        float32 of shape (..., H, W).
    channel_axis
        Axis of the image that the residual lacks, counted from the end; None for grey and RGB.
    created
        Its regions.
    area
        The pixels that were inspected; None: all.
    """

    data: npt.NDArray[Any]
    rgb: bool
    spatial: SpatialMetadata
    residual: npt.NDArray[np.float32]
    channel_axis: int | None
    created: Created
    area: InspectedArea | None = None


def detect_in_files(
    model: DefectModel, name: str, recipe: DetectionRecipe, threads: int, *, overwrite: bool
) -> Generator[BatchSummary | BatchStep, None, None]:
    """Inspect image files and write what is found, as the command ``detect`` does.

    Raises
    ------
    InputError
        As for `find_images` and `detect_files`.
    """
    load_torch()
    import torch

    from ...io.images.checks import files_data_bar_notice
    from ...io.images.image_file import find_images, unread_notice
    from ...io.writers.report import REPORT_NAME
    from ...scale.folders import (
        FileFailed,
        FileProgress,
        detect_files,
        several_cards,
        worker_per_card,
    )

    torch.set_num_threads(threads)
    paths = find_images(recipe.images)
    bar = files_data_bar_notice(paths, _WRITE) if recipe.roi is None else None
    notices = [text for text in (unread_notice(recipe.images), bar) if text is not None]
    summary = BatchSummary(len(paths), recipe.folder).with_notices(notices)
    yield summary
    start: float | None = None
    cards = () if recipe.cluster else several_cards(recipe.device, len(paths))
    with worker_per_card(cards) as here:
        settings = recipe.replace(cluster=recipe.cluster or here)
        for message in detect_files(
            model, paths, recipe.folder, settings, overwrite=overwrite, name=name
        ):
            if isinstance(message, FileProgress):
                now = time.monotonic()
                start = now if start is None else start
                done = message.fraction
                left = (now - start) * (1 - done) / done if done else None
                yield BatchStep(message.path, done, left)
                continue
            if isinstance(message, FileFailed):
                summary = summary.with_failure(message.path, message.reason)
            else:
                summary = summary.with_notices(message.notices).with_image(
                    BatchImage(
                        message.path,
                        message.regions,
                        message.defective_fraction,
                        message.earlier,
                        message.files.get("residual", (None,))[0],
                    )
                )
            yield summary
    yield summary.finished(recipe.folder / REPORT_NAME if recipe.report else None)


def open_result(
    model: DefectModel, recipe: DetectionRecipe, image: BatchImage
) -> Generator[Fraction | ResultOpened, None, None]:
    """Read an image and its residual, and outline the same regions again.

    Raises
    ------
    InputError
        If a file cannot be read, is too large to be shown at once, or there is no residual.
    """
    from ...io.images.image_file import inspected_area, open_image
    from ...scale.file_detection import detected_in_blocks, file_planes

    if image.residual is None:
        raise InputError(
            f"There is no residual of '{image.path.name}' to show; choose Residual in the Export "
            "section, and start again."
        )
    file = open_image(image.path)
    planes = file_planes(model, file)
    if detected_in_blocks(planes):
        raise InputError(
            f"'{image.path.name}' is too large to be read at once; open it in napari and press "
            "Detect, which computes the visible part first."
        )
    yield Fraction(0.1)
    data = np.asarray(file.data)
    residual = np.asarray(open_image(image.residual).data, dtype=np.float32)
    if residual.shape != planes.shape:
        raise InputError(
            f"'{image.path}' is not the image that '{image.residual}' was made from; start again."
        )
    yield Fraction(0.4)
    sizes = file.pixel_size or (1.0, 1.0)
    spacing = sizes, file.unit
    area = inspected_area(recipe.roi, planes.shape, planes.name)
    threshold = recipe.threshold_for(model)
    for message in create_labels(residual, threshold, recipe.segmentation, spacing, area):
        if isinstance(message, Created):
            rgb = file.channel_axis == -1
            axis = None if rgb else file.channel_axis
            yield ResultOpened(data, rgb, file.spatial, residual, axis, message, area)
        else:
            yield message

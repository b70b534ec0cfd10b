"""Residuals of defect-free images: what a model calls normal."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
import torch

from .calibration import Measurement, Scoring
from .config import ResidualConfig, TrainingConfig
from .device import choose_device
from .errors import InputError
from .model import DefectModel
from .networks import Autoencoder
from .patches import TrainingArea
from .planes import ImageLike
from .progress import CalibrationProgress
from .reconstruction import reconstruct_plane, reconstructor
from .residual import residual_map
from .thresholds import ThresholdPolicy

__all__ = ["calibrate", "measure"]


def calibrate(
    model: DefectModel,
    images: Sequence[ImageLike],
    threshold: ThresholdPolicy | None = None,
    *,
    channel_axis: int | None = None,
    names: Sequence[str] | None = None,
    device: str | None = None,
) -> Generator[CalibrationProgress, None, DefectModel]:
    """Measure what is normal on other defect-free images, such as the paper's fifth one.

    Parameters
    ----------
    model
        The trained model.
    images
        Defect-free images or stacks that it was not trained on.
    threshold
        How the automatic threshold follows from them; None: as before.
    channel_axis
        Axis of the channels, if it differs from the training images'.
    names
        What error messages call the images.
    device
        Where the network runs; None: the fastest there is.

    Yields
    ------
    CalibrationProgress
        At least twice a second.

    Returns
    -------
    DefectModel
        The same network with new calibrations of all its residuals.

    Raises
    ------
    InputError
        If there are no images, or one cannot be used.
    """
    if not len(images):
        raise InputError("There is no image to calibrate with; choose one without defects.")
    names = names or [f"image {number}" for number in range(1, len(images) + 1)]
    where = choose_device(device)
    areas = [
        TrainingArea(model.intensity.normalise(plane))
        for image, name in zip(images, names, strict=True)
        for plane in model.planes(image, channel_axis, name)
    ]
    scorings = yield from measure(
        model.network_on(where),
        areas,
        model.config,
        [scoring.residual for scoring in model.scorings],
        where,
        held_out=True,
    )
    return replace(model.with_scorings(scorings), threshold=threshold or model.threshold)


def measure(
    network: Autoencoder,
    areas: Sequence[TrainingArea],
    config: TrainingConfig,
    residuals: Sequence[ResidualConfig],
    device: torch.device,
    *,
    held_out: bool,
) -> Generator[CalibrationProgress, None, list[Scoring]]:
    """Measure residuals of a network on normalised defect-free areas.

    Returns
    -------
    list of Scoring
        One per residual, in their order.
    """
    measurements = [Measurement() for _ in residuals]
    # Residuals that need the same reconstruction share it.
    recipes = [config.replace(residual=residual) for residual in residuals]
    sampled = [recipe.residual.kind == "reconstruction_probability" for recipe in recipes]
    passes = [kind for kind in (False, True) if kind in sampled]
    done = 0.0
    for area in areas:
        for kind in passes:
            recipe = recipes[sampled.index(kind)]
            steps = reconstruct_plane(
                reconstructor(network, recipe), area.pixels, config.patch_size, config.stride,
                device,
            )  # fmt: skip
            while True:
                try:
                    part = next(steps)
                except StopIteration as finished:
                    reconstruction = finished.value
                    break
                yield CalibrationProgress((done + part) / (len(areas) * len(passes)))
            done += 1
            for residual, measurement, other in zip(residuals, measurements, sampled, strict=True):
                if other == kind:
                    found = residual_map(area.pixels, reconstruction, residual)
                    if area.allowed is not None:
                        found = np.where(area.allowed, found, np.float32(np.nan))
                    measurement.add(found)
                    yield CalibrationProgress(done / (len(areas) * len(passes)))
    return [
        Scoring(residual, measurement.result(held_out))
        for residual, measurement in zip(residuals, measurements, strict=True)
    ]

"""Calibration of a model on defect-free images."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from ..common.device import choose_device
from ..common.errors import InputError
from ..common.progress import CalibrationProgress, relayed
from ..config import RarityResidual, ResidualConfig, TrainingConfig
from ..detection.predictions import predict_plane
from ..detection.rarity import combined_rarity, fit_rarity, offsets
from ..detection.residual import score_plane
from ..images.planes import ImageLike, Planes
from ..networks.autoencoder import Autoencoder
from ..patches.areas import TrainingArea, read_areas, spread_over, training_side
from ..patches.patch_source import fixed_patches
from .calibration import CalibratedResidual, CalibrationBuilder
from .defect_model import DefectModel
from .thresholds import ThresholdPolicy
from .trial import try_on_painted

__all__ = ["calibrate", "calibrate_residuals", "measured_areas", "usual_pixels"]

# Contrast about the mean, and brightness: less than the discriminator is taught to take for good.
_LIGHTS = ((1.15, 0.0), (0.87, 0.0), (1.0, 0.1), (1.0, -0.1))
_LIGHT_PIXELS = 750_000  # of good material, seen in each of them
_FEW_IMAGES = 10  # fewer do not show how images differ in light (benchmarks/EXPERIMENTS.md)


def calibrate(
    model: DefectModel,
    images: Sequence[ImageLike],
    threshold: ThresholdPolicy | None = None,
    *,
    channel_axis: int | None = None,
    names: Sequence[str] | None = None,
    device: str | None = None,
    masks: Sequence[npt.NDArray[np.bool_] | None] | None = None,
) -> Generator[CalibrationProgress, None, DefectModel]:
    """Calibrate a model anew on other defect-free images, such as the paper's fifth one.

    Parameters
    ----------
    model
        The trained model.
    images
        Defect-free images or stacks that it was not trained on; sampled as for `train`.
    threshold
        Policy of the automatic threshold; None: as before.
    channel_axis
        Axis of the channels, if it differs from the training images'.
    names
        What error messages call the images.
    device
        Where the network runs; None: the fastest there is.
    masks
        Per image, the pixels that are measured, bool of shape (H, W) or (..., H, W); None: all.

    Yields
    ------
    CalibrationProgress
        At least twice a second.

    Returns
    -------
    DefectModel
        The same network with new calibrations of all its residuals, without corrections, whose
        residuals were those of the old one.

    Raises
    ------
    InputError
        If there are no images, or one cannot be used.
    """
    if not len(images):
        raise InputError("There is no image to calibrate with; choose one without defects.")
    names = names or [f"image {number}" for number in range(1, len(images) + 1)]
    where = choose_device(device)
    stacks = [
        model.planes(image, channel_axis, name) for image, name in zip(images, names, strict=True)
    ]
    areas = [
        area.normalised(model.intensity)
        for area in read_areas(stacks, masks, model.config.patch_size)
    ]
    calibrated = yield from calibrate_residuals(
        model.network_on(where),
        areas,
        model.config,
        [each.residual for each in model.calibrated_residuals],
        where,
        held_out=True,
        image_pixels=usual_pixels(stacks),
        images=len(areas),
    )
    calibrated_model = model.with_calibrated_residuals(calibrated)
    patches = fixed_patches(areas, training_side(areas, model.config), model.config, where)
    painted = yield from relayed(
        try_on_painted(model.network_on(where), patches, calibrated_model.config, where),
        lambda _: CalibrationProgress(1.0),
    )
    return replace(
        calibrated_model,
        threshold=threshold or model.threshold,
        painted=painted,
        corrections=(),
    )


def usual_pixels(stacks: Sequence[Planes]) -> int:
    """Return the median number of pixels of a plane."""
    return int(np.median([stack.height * stack.width for stack in stacks]))


def measured_areas(
    areas: Sequence[TrainingArea],
    trained: Sequence[TrainingArea],
    residual: ResidualConfig,
    images: int,
) -> list[TrainingArea]:
    """Return whatever `calibrate_residuals` predicts for a residual, as often as it does."""
    if residual.kind != "rarity":
        return list(areas)
    return [*areas, *trained, *len(_LIGHTS) * _lit(areas, trained, images)]


def _lit(
    areas: Sequence[TrainingArea], trained: Sequence[TrainingArea], images: int
) -> list[TrainingArea]:
    """Return the areas that are seen in other lights."""
    return spread_over(trained or areas, _LIGHT_PIXELS) if images < _FEW_IMAGES else []


def calibrate_residuals(
    network: Autoencoder,
    areas: Sequence[TrainingArea],
    config: TrainingConfig,
    residuals: Sequence[ResidualConfig],
    device: torch.device,
    *,
    held_out: bool,
    image_pixels: int,
    images: int,
    trained: Sequence[TrainingArea] = (),
) -> Generator[CalibrationProgress, None, list[CalibratedResidual]]:
    """Measure the residuals of a network on normalised defect-free areas, and calibrate them.

    Parameters
    ----------
    network, config, device
        As for `predict_plane`.
    areas
        What is measured.
    residuals
        What to calibrate.
    held_out
        Whether the areas were kept out of the training.
    image_pixels, images
        Pixels of a usual good image, and number of good images.
    trained
        Areas of the training: a rarity's thresholds of regions must hold in the median of them too.

    Returns
    -------
    list of CalibratedResidual
        One per residual, in their order; rarities with their levels measured.
    """
    rarities = [residual for residual in residuals if residual.kind == "rarity"]
    simple: list[ResidualConfig] = [residual for residual in residuals if residual.kind != "rarity"]
    members = [member.residual for rarity in rarities for member in rarity.members]
    simple += [member for member in dict.fromkeys(members) if member not in simple]
    builders: dict[ResidualConfig, CalibrationBuilder] = {
        kind: CalibrationBuilder(image_pixels, images) for kind in simple
    }
    maps: dict[ResidualConfig, list[npt.NDArray[np.float32]]] = {member: [] for member in members}
    lit = _lit(areas, trained, images)
    again = len(areas) + len(trained) + len(lit) * len(_LIGHTS)
    done, work = 0, len(areas) + len(rarities) * again

    def progress(fraction: float) -> CalibrationProgress:
        return CalibrationProgress((done + fraction) / work)

    for area in areas:
        # Residuals that need the same reconstruction share it.
        for sampled in (False, True):
            sharing = [
                residual
                for residual in simple
                if (residual.kind == "reconstruction_probability") == sampled
            ]
            if not sharing:
                continue
            scored = config.replace(residual=sharing[0])
            steps = predict_plane(network, area.pixels, scored, config.stride, device, sharing)
            outputs = yield from relayed(steps, progress)
            for residual in sharing:
                found = _good_only(area, score_plane(area.pixels, outputs, residual))
                builders[residual].add(found)
                if residual in maps:
                    maps[residual].append(found)
                yield progress(1)
        done += 1
    fitted: dict[ResidualConfig, RarityResidual] = {}
    for rarity in rarities:
        seen = [maps[member.residual] for member in rarity.members]
        fitted[rarity] = fit_rarity(rarity, seen)
        builders[rarity] = builder = CalibrationBuilder(image_pixels, images)
        for together in zip(*seen, strict=True):
            excess = offsets(together, fitted[rarity])
            builder.add(combined_rarity(together, fitted[rarity], excess))
            done += 1
            yield progress(0)
        others: list[tuple[TrainingArea, npt.NDArray[np.float32], Callable[..., None]]] = [
            (area, area.pixels, builder.add_trained) for area in trained
        ]
        others += [
            (area, varied, partial(builder.add_varied, light=light))
            for area in lit
            for light, varied in enumerate(_in_other_lights(area.pixels))
        ]
        for area, pixels, add in others:
            steps = predict_plane(network, pixels, config, config.stride, device, [fitted[rarity]])
            outputs = yield from relayed(steps, progress)
            add(_good_only(area, score_plane(pixels, outputs, fitted[rarity])))
            done += 1
            yield progress(0)
    return [
        CalibratedResidual(fitted.get(residual, residual), builders[residual].result(held_out))
        for residual in residuals
    ]


def _good_only(area: TrainingArea, residual: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a residual (H, W) with NaN where the area is not known to be good."""
    if area.allowed is None:
        return residual
    return np.where(area.allowed, residual, np.float32(np.nan))


def _in_other_lights(pixels: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    """Return pixels (C, H, W) in each of `_LIGHTS`."""
    mean = pixels.mean(axis=(1, 2), keepdims=True)
    for contrast, brightness in _LIGHTS:
        yield (pixels - mean) * np.float32(contrast) + mean + np.float32(brightness)

"""Calibration of a model on defect-free images."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from operator import add

import numpy as np
import numpy.typing as npt
import torch

from ..common.device import choose_device
from ..common.errors import InputError
from ..common.progress import CalibrationProgress, relayed
from ..config import EnsembleResidual, ResidualConfig, TrainingConfig
from ..detection.anomaly_score import ensemble_score, fit_ensemble, offsets
from ..detection.predictions import predict_plane
from ..detection.residual import score_plane
from ..images.planes import ImageLike, Planes
from ..networks.autoencoder import Autoencoder
from ..patches.areas import (
    TrainingArea,
    read_areas,
    refuse_other_number,
    spread_over,
    training_side,
)
from ..patches.patch_source import fixed_patches
from .calibration import CalibratedResidual, CalibrationBuilder
from .defect_model import DefectModel
from .thresholds import ThresholdPolicy
from .trial import try_on_painted

__all__ = ["GoodImages", "calibrate", "calibrate_residuals", "usual_pixels"]

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
    """Calibrate a model again, on other defect-free images, such as the paper's fifth one.

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
        If there are no images, one cannot be used, or there are more or fewer names or masks.
    """
    if not len(images):
        raise InputError("There is no image to calibrate with; choose one without defects.")
    names = names or [f"image {number}" for number in range(1, len(images) + 1)]
    refuse_other_number(names, len(images), "name")
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
        GoodImages(areas, held_out=True, image_pixels=usual_pixels(stacks), images=len(areas)),
        model.config,
        [each.residual for each in model.calibrated_residuals],
        where,
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


@dataclass(frozen=True, eq=False)
class GoodImages:
    """Good material that residuals are calibrated on.

    Attributes
    ----------
    areas
        What is measured, in normalised intensities.
    held_out
        Whether the areas were kept out of the training.
    image_pixels, images
        Pixels of a usual good image, and number of good images.
    trained
        Areas of the training: thresholds of regions of an ensemble must hold in the median of them.
    """

    areas: Sequence[TrainingArea]
    held_out: bool
    image_pixels: int
    images: int
    trained: Sequence[TrainingArea] = ()

    @cached_property
    def relit(self) -> list[tuple[int, TrainingArea]]:
        """Areas in other light, with its number: an ensemble's thresholds must hold there too."""
        if self.images >= _FEW_IMAGES:
            return []
        return [
            (light, TrainingArea(pixels, area.allowed))
            for area in spread_over(self.trained or self.areas, _LIGHT_PIXELS)
            for light, pixels in enumerate(_in_other_lights(area.pixels))
        ]

    def predicted(self, residual: ResidualConfig) -> list[TrainingArea]:
        """Return what `calibrate_residuals` predicts for a residual, as often as it does."""
        if residual.kind != "rarity":
            return list(self.areas)
        return [*self.areas, *self.trained, *(area for _, area in self.relit)]


def calibrate_residuals(
    network: Autoencoder,
    good: GoodImages,
    config: TrainingConfig,
    residuals: Sequence[ResidualConfig],
    device: torch.device,
) -> Generator[CalibrationProgress, None, list[CalibratedResidual]]:
    """Measure the residuals of a network on good material, and calibrate them.

    Returns
    -------
    list of CalibratedResidual
        One per residual, in their order; ensembles with their levels measured.
    """
    ensembles = [residual for residual in residuals if residual.kind == "rarity"]
    members = [member.residual for ensemble in ensembles for member in ensemble.members]
    simple = [residual for residual in residuals if residual.kind != "rarity"]
    simple = list(dict.fromkeys([*simple, *members]))
    for_ensemble = len(good.trained) + len(good.relit)
    work = len(good.areas) + len(ensembles) * for_ensemble

    def progress(before: float, done: float) -> CalibrationProgress:
        return CalibrationProgress((before + done) / work)

    steps = _measured_maps(network, good, config, simple, device)
    maps = yield from relayed(steps, partial(progress, 0))
    calibrated: dict[ResidualConfig, CalibratedResidual] = {}
    for residual in residuals:
        if residual.kind != "rarity":
            builder = CalibrationBuilder(good.image_pixels, good.images)
            for measured in maps[residual]:
                builder.add(measured)
            calibrated[residual] = CalibratedResidual(residual, builder.result(good.held_out))
    for number, ensemble in enumerate(ensembles):
        before = len(good.areas) + number * for_ensemble
        of_members = [maps[member.residual] for member in ensemble.members]
        calibrated[ensemble] = yield from relayed(
            _calibrated_ensemble(network, good, config, ensemble, of_members, device),
            partial(progress, before),
        )
    return [calibrated[residual] for residual in residuals]


def _measured_maps(
    network: Autoencoder,
    good: GoodImages,
    config: TrainingConfig,
    residuals: Sequence[ResidualConfig],
    device: torch.device,
) -> Generator[float, None, dict[ResidualConfig, list[npt.NDArray[np.float32]]]]:
    """Return the map of each area by each residual; yields the number of areas that are done."""
    maps: dict[ResidualConfig, list[npt.NDArray[np.float32]]] = {kind: [] for kind in residuals}
    for number, area in enumerate(good.areas):
        # Residuals that need the same reconstruction share it.
        for sampled in (False, True):
            sharing = [
                residual
                for residual in residuals
                if (residual.kind == "reconstruction_probability") == sampled
            ]
            if not sharing:
                continue
            scored = config.replace(residual=sharing[0])
            steps = predict_plane(network, area.pixels, scored, config.stride, device, sharing)
            outputs = yield from relayed(steps, partial(add, number))
            for residual in sharing:
                maps[residual].append(_good_only(area, score_plane(area.pixels, outputs, residual)))
                yield number + 1
    return maps


def _calibrated_ensemble(
    network: Autoencoder,
    good: GoodImages,
    config: TrainingConfig,
    ensemble: EnsembleResidual,
    maps: Sequence[Sequence[npt.NDArray[np.float32]]],
    device: torch.device,
) -> Generator[float, None, CalibratedResidual]:
    """Calibrate an ensemble by the maps of its members; yields how many more areas are done."""
    fitted = fit_ensemble(ensemble, maps)
    builder = CalibrationBuilder(good.image_pixels, good.images)
    for together in zip(*maps, strict=True):
        builder.add(ensemble_score(together, fitted, offsets(together, fitted)))
        yield 0.0
    others = [*((None, area) for area in good.trained), *good.relit]
    for number, (light, area) in enumerate(others):
        steps = predict_plane(network, area.pixels, config, config.stride, device, [fitted])
        outputs = yield from relayed(steps, partial(add, number))
        measured = _good_only(area, score_plane(area.pixels, outputs, fitted))
        if light is None:
            builder.add_trained(measured)
        else:
            builder.add_varied(measured, light)
        yield number + 1.0
    return CalibratedResidual(fitted, builder.result(good.held_out))


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

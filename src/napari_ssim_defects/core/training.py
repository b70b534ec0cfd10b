"""Training on defect-free images, as a generator of typed messages."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .alexnet import AlexNetFeatures
from .config import TrainingConfig
from .device import choose_device, fast_dtype, place
from .errors import InputError
from .intensity import IntensityRange
from .losses import Objective
from .measurement import measure
from .model import DefectModel
from .networks import Autoencoder, initialise
from .optimisation import Optimisation
from .patches import PatchSource, TrainingArea, split
from .planes import ImageLike, Planes, as_planes
from .progress import (
    TrainingFinished,
    TrainingMessage,
    TrainingNotice,
    TrainingStarted,
)
from .threads import thread_race

__all__ = ["STOP", "train"]

STOP = "stop"
"""Sent to the generator, it ends the training; the best model so far comes next."""

_REPORT_SECONDS = 0.4
_VALIDATION_PATCHES = 64
_CALIBRATION_PIXELS = 3_000_000


def train(
    images: Sequence[ImageLike],
    config: TrainingConfig | None = None,
    *,
    masks: Sequence[npt.NDArray[np.bool_] | None] | None = None,
    channel_axis: int | None = None,
    names: Sequence[str] | None = None,
    device: str | None = None,
    alexnet: str | os.PathLike[str] | None = None,
) -> Generator[TrainingMessage, str | None, None]:
    """Train an autoencoder on images without defects.

    Parameters
    ----------
    images
        Defect-free images or stacks: grey (..., H, W), RGB (..., H, W, 3), or multichannel with
        ``channel_axis``; any integer or floating-point dtype; numpy, dask or zarr arrays.
    config
        The recipe; None: preset ``quick``.
    masks
        Per image, the pixels that are known to be free of defects, bool of shape (H, W) or
        (..., H, W); None: all.
    channel_axis
        Axis of the channels in every image; None: see `as_planes`.
    names
        What error messages and the model's provenance call the images.
    device
        ``"cpu"``, ``"cuda"``, ...; None: the fastest there is.
    alexnet
        File with AlexNet's weights for the system ``fmae``; None: they are fetched from the
        PyTorch project once, into torch's cache (see `AlexNetFeatures.pretrained`).

    Yields
    ------
    TrainingMessage
        `FetchProgress` while weights are fetched; `TrainingStarted`, then `TrainingStep` at least
        twice a second with a `TrainingPreview` and a `TrainingNotice` in between now and then, at
        last `TrainingFinished`, which carries the model. Send `STOP` to end early with the best
        model so far; close the generator to throw it away.

    Raises
    ------
    InputError
        If the images cannot be trained on: none, fewer than two dimensions, NaN, constant,
        different channels, all smaller than a patch; if there are more or fewer masks or
        names than images; or if AlexNet's weights are needed and not to be had.

    References
    ----------
    Bergmann et al. 2018, section 4.2.
    """
    config = config or TrainingConfig.preset("quick")
    where = choose_device(device)
    planes = _planes(images, channel_axis, names)
    if masks is not None:
        _check_number(masks, len(images), "mask")
    areas = _areas(planes, masks)
    intensity = IntensityRange.of(
        (area.good_pixels for area in areas), config.intensity_percentiles
    )
    areas = [area.normalised(intensity) for area in areas]
    training, held_out = split(areas, config.validation, config.patch_size)
    generator = np.random.default_rng(config.seed)
    source = PatchSource(training, config.patch_size, config.augmentation, where)
    samples = PatchSource(held_out or training, config.patch_size, config.augmentation, where)
    validation = samples.cut(
        samples.positions(_VALIDATION_PATCHES, np.random.default_rng(config.seed + 1))
    )

    features = None
    if config.system == "fmae":
        features = (yield from AlexNetFeatures.pretrained(alexnet)).to(where)
    network = Autoencoder.of(config, planes[0].channels)
    initialise(network, config.seed)
    network = place(network, where)
    started = TrainingStarted(
        device=str(where),
        precision=str(fast_dtype(where)).removeprefix("torch."),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        planes=len(areas),
    )
    stopped = (yield started) == STOP
    batches = source.batches(config.batch_size, config.patches, config.fixed_patches, generator)
    with thread_race() as race:
        run = Optimisation(
            config,
            network,
            where,
            batches,
            Objective(config, torch.Generator(where).manual_seed(config.seed), features),
            validation,
            held_out=bool(held_out),
            race=race if config.minutes is not None and where.type == "cpu" else None,
        )
        while run.fraction < 1 and not stopped:
            yield_at = run.elapsed + _REPORT_SECONDS
            while run.fraction < 1 and run.elapsed < yield_at and not run.validation_due:
                run.step()
            diverged = run.recover()
            if diverged is not None:
                stopped |= (yield TrainingNotice(diverged)) == STOP
                continue
            if run.validation_due:
                run.validate()
                stopped |= (yield run.preview()) == STOP
            stopped |= (yield run.report()) == STOP
    run.restore_best()
    # A held-out band is all border, where few reconstructions overlap: whole images count.
    unseen = [area for area in held_out if any(area is other for other in areas)]
    good = _within_budget(unseen) or _within_budget(areas)
    own, *others = yield from measure(
        network, good, config, config.residuals, where, held_out=bool(unseen)
    )
    yield TrainingFinished(
        DefectModel(
            config=config,
            network=network.to("cpu"),
            channels=planes[0].channels,
            channel_axis=planes[0].channel_axis,
            intensity=intensity,
            calibration=own.calibration,
            alternatives=tuple(others),
            history=tuple(run.history),
            provenance=_provenance(planes, where, run.elapsed),
        ),
        stopped,
    )


def _planes(
    images: Sequence[ImageLike], channel_axis: int | None, names: Sequence[str] | None
) -> list[Planes]:
    if len(images) == 0:
        raise InputError("There is no training image; choose at least one without defects.")
    if names is None:
        names = [f"training image {number}" for number in range(1, len(images) + 1)]
    _check_number(names, len(images), "name")
    planes = [
        as_planes(image, channel_axis, name=name) for image, name in zip(images, names, strict=True)
    ]
    for other in planes[1:]:
        if other.channels != planes[0].channels:
            raise InputError(
                f"Training images must have the same channels, but {planes[0].name} has "
                f"{planes[0].channels} and {other.name} has {other.channels}; choose images "
                "of one kind."
            )
    return planes


def _check_number(given: Sequence[Any], images: int, what: str) -> None:
    if len(given) != images:
        raise InputError(
            f"There {'is' if images == 1 else 'are'} {images} image{'s' * (images != 1)} but "
            f"{len(given)} {what}{'s' * (len(given) != 1)}; give one {what} per image."
        )


def _areas(
    stacks: Sequence[Planes],
    masks: Sequence[npt.NDArray[np.bool_] | None] | None,
) -> list[TrainingArea]:
    """Read every plane, with the part of it that may be trained on."""
    areas = []
    for stack, mask in zip(stacks, [None] * len(stacks) if masks is None else masks, strict=True):
        allowed = None
        if mask is not None:
            try:
                allowed = np.broadcast_to(np.asarray(mask, dtype=bool), stack.shape)
            except ValueError:
                raise InputError(
                    f"The mask of {stack.name} has shape {np.shape(mask)}, which does not fit "
                    f"its planes of {stack.height} x {stack.width} pixels."
                ) from None
            allowed = allowed.reshape(len(stack), stack.height, stack.width)
        for index, plane in enumerate(stack):
            areas.append(TrainingArea(plane, None if allowed is None else allowed[index]))
    return areas


def _within_budget(areas: Sequence[TrainingArea]) -> list[TrainingArea]:
    """Spread the calibration over as many areas with good pixels as it has time for."""
    areas = [area for area in areas if area.allowed is None or area.allowed.any()]
    pixels = [area.pixels[0].size for area in areas]
    if sum(pixels) <= _CALIBRATION_PIXELS:
        return list(areas)
    wanted = max(1, int(len(areas) * _CALIBRATION_PIXELS / sum(pixels)))
    return [areas[i] for i in np.linspace(0, len(areas) - 1, wanted).round().astype(int)]


def _provenance(planes: Sequence[Planes], device: torch.device, seconds: float) -> dict[str, str]:
    versions = {}
    for package in ("napari-ssim-defects", "torch", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            versions[package] = "unknown"
    return {
        **versions,
        "device": str(device),
        "precision": str(fast_dtype(device)).removeprefix("torch."),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "training seconds": f"{seconds:.1f}",
        "training images": ", ".join(stack.name for stack in planes),
    }

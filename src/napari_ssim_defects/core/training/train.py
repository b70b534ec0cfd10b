"""Training on defect-free images, as a generator of typed messages."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..common.device import choose_device, place
from ..common.progress import PreparationProgress
from ..config import TrainingConfig
from ..detection.rarity import weighted_by_skill
from ..images.intensity import IntensityRange
from ..images.planes import ImageLike, Planes
from ..model.calibrate import measure, usual_pixels
from ..model.defect_model import DefectModel
from ..networks.alexnet import AlexNetFeatures
from ..networks.autoencoder import Autoencoder, initialise
from ..networks.backbone import BackboneFeatures
from ..networks.features import fit_features
from ..networks.precision import fast_dtype, step_time
from ..networks.texture import fit_texture
from ..patches.areas import (
    TrainingArea,
    fingerprint,
    read_areas,
    refuse_single_patches,
    split,
    spread_over,
    training_planes,
    training_side,
)
from ..patches.sampler import PatchSource
from ..patches.symmetry import find_symmetries
from .checkpoint import TrainingState, load_arrays
from .loader import CARD_BATCHES, Batches, Feed
from .losses import Objective
from .messages import (
    TrainingCheckpoint,
    TrainingFinished,
    TrainingMessage,
    TrainingNotice,
    TrainingStarted,
)
from .resources import memory_kept, thread_race
from .trainer import Optimisation
from .validation import Validation

__all__ = ["STOP", "train", "trained_by"]

STOP = "stop"
"""Sent to the generator, it ends the training; the best model so far comes next."""

_REPORT_SECONDS = 0.4
_CHECKPOINT_SECONDS = 30.0
_VALIDATION_PATCHES = 64
_CALIBRATION_PIXELS = 3_000_000
_RECIPE = "recipe"


def train(
    images: Sequence[ImageLike],
    config: TrainingConfig | None = None,
    *,
    masks: Sequence[npt.NDArray[np.bool_] | None] | None = None,
    channel_axis: int | None = None,
    names: Sequence[str] | None = None,
    device: str | None = None,
    alexnet: str | os.PathLike[str] | None = None,
    state: TrainingState | None = None,
) -> Generator[TrainingMessage, str | None, None]:
    """Train an autoencoder on images without defects.

    Parameters
    ----------
    images
        Defect-free images or stacks: grey (..., H, W), RGB (..., H, W, 3), or multichannel with
        ``channel_axis``; any integer or floating-point dtype; numpy, dask or zarr arrays. Of large
        ones that are not in memory a sample is read (see `read_areas`).
    config
        The recipe; None: preset ``quick``, or that of ``state``.
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
        PyTorch project once, into torch's cache (see `AlexNetFeatures.pretrained`). Not needed
        with ``feature_network="efficientnet-lite0"``.
    state
        From a `TrainingCheckpoint` of a training of the same images by the same recipe: it goes
        on from there, with a limit of minutes that counts anew. On a CPU without a discriminator
        and without a limit, or with one thread, it ends with the very weights that it would have
        had.

    Yields
    ------
    TrainingMessage
        `PreparationProgress` while weights are fetched, or features and texture are learnt;
        `TrainingStarted`; then `TrainingStep` at least twice a second with a `TrainingPreview`
        and a `TrainingNotice` in between now and then, and a `TrainingCheckpoint` early on,
        every half a minute and after the last step; at last `TrainingFinished`, which carries
        the model. Send `STOP` to end early with the best model so far; close the generator to
        throw it away.

    Raises
    ------
    InputError
        If the images cannot be trained on: none, fewer than two dimensions, NaN, constant,
        different channels, all smaller than a patch; if there are more or fewer masks or
        names than images; if ``state`` is of other images or another recipe; or if AlexNet's
        weights are needed and not to be had.

    References
    ----------
    Bergmann et al. 2018, section 4.2.
    """
    if config is None:
        config = TrainingConfig.preset("quick") if state is None else state.config
    where = choose_device(device)
    planes = training_planes(images, channel_axis, names)
    areas = read_areas(planes, masks, config.patch_size)
    mark = fingerprint(areas)
    if state is not None:
        state.refuse_other(config, mark)
    intensity = IntensityRange.of(
        (area.good_pixels for area in areas), config.intensity_percentiles
    )
    areas = [area.normalised(intensity) for area in areas]
    side = training_side(areas, config)
    refuse_single_patches(config, side)
    training, held_out = split(areas, config.validation, side)
    samples = PatchSource(held_out or training, side, config.augmentation, where)
    count = _VALIDATION_PATCHES * config.patch_size**2 // side**2
    fixed = samples.cut(samples.positions(count, np.random.default_rng(config.seed + 1)))

    stopped = False
    features = None
    if config.system == "fmae":
        features, stopped = yield from _heeded(_matched_features(config, alexnet))
        features = features.to(where)
    network = Autoencoder.of(config, planes[0].channels)
    initialise(network, config.seed)
    with thread_race() as threads:
        race = None
        if _may_race(config, where):
            race = threads
            race.settle(lambda: step_time(torch.float32))
        if state is not None:
            load_arrays(network, state.network)
        else:
            for message in _learnt_in_closed_form(network, training, config.seed):
                stopped |= (yield message) == STOP
        augmentation = config.augmentation
        if augmentation.symmetries and network.texture is not None:
            flips, turns = find_symmetries(network.texture, held_out or training)
            augmentation = augmentation.replace(flips=flips, quarter_turns=turns)
        network = place(network, where)
        source = PatchSource(training, side, augmentation, where)
        objective = Objective(config, torch.Generator(where), features)
        batches = Batches(source, config.patches, config.fixed_patches, config.seed)
        at_once = 1 if where.type == "cpu" else CARD_BATCHES
        validation = Validation(config, objective, fixed, held_out=bool(held_out))
        with memory_kept():
            run = Optimisation(
                config,
                network,
                where,
                Feed(batches, objective, at_once),
                objective,
                validation,
                race=race,
            )
            if state is not None:
                run.resume(state)
            started = TrainingStarted(
                device=str(where),
                precision=str(fast_dtype(where)).removeprefix("torch."),
                parameters=sum(parameter.numel() for parameter in network.parameters()),
                planes=len(areas),
                fraction=run.fraction,
            )
            stopped |= (yield started) == STOP
            checkpoint_at = run.elapsed
            while run.fraction < 1 and not stopped:
                yield_at = run.elapsed + _REPORT_SECONDS
                run.step()
                while run.fraction < 1 and run.elapsed < yield_at and not run.validation_due:
                    run.step()
                recovered = run.recover()
                if run.validation_due and not recovered:
                    run.look()
                    stopped |= (yield run.preview()) == STOP
                for notice in run.notices():
                    stopped |= (yield notice) == STOP
                if recovered or not run.reportable:
                    continue
                stopped |= (yield run.report()) == STOP
                if run.elapsed >= checkpoint_at or run.fraction >= 1 or stopped:
                    checkpoint_at = run.elapsed + _CHECKPOINT_SECONDS
                    stopped |= (yield TrainingCheckpoint(run.state(mark))) == STOP
        origin = _provenance(planes, where, run.elapsed) | {_RECIPE: _digest(config, mark)}
        run.restore_best()
        learned = validation.learned(validation.reconstruct(network))
        warnings = validation.warnings(learned)
        if run.share < 1 and not stopped:
            warnings += (
                f"The training was ended by its limit of {config.minutes:g} minutes after "
                f"{run.share:.0%} of its steps; resume it to go on.",
            )
        for text in warnings:
            yield TrainingNotice(text)
        good = spread_over(held_out, _CALIBRATION_PIXELS) or spread_over(areas, _CALIBRATION_PIXELS)
        weighted = weighted_by_skill(config.residual, learned, validation.skills(network))
        config = config.replace(residual=weighted, augmentation=augmentation)
        own, *others = yield from measure(
            network,
            good,
            config,
            config.residuals,
            where,
            held_out=bool(held_out),
            image_pixels=usual_pixels(planes),
        )
    config = config.replace(residual=own.residual)  # a rarity has been measured by now
    yield TrainingFinished(
        DefectModel(
            config=config,
            network=network.to("cpu"),
            channels=planes[0].channels,
            channel_axis=planes[0].channel_axis,
            intensity=intensity,
            calibration=own.calibration,
            alternatives=tuple(others),
            history=run.history,
            warnings=warnings,
            provenance=origin,
        ),
        stopped,
        run.share,
    )


def _learnt_in_closed_form(
    network: Autoencoder, areas: Sequence[TrainingArea], seed: int
) -> Iterator[PreparationProgress]:
    """Give a network on the CPU its pretrained part and all that needs no steps."""
    if network.backbone is not None:
        from ...io.artifacts.pretrained_weights import read_backbone_weights

        network.backbone.load_pretrained(read_backbone_weights())
        if network.features is not None:
            for fraction in fit_features(network.features, network.backbone, areas):
                yield PreparationProgress("Learning the features", fraction)
    if network.texture is not None:
        for fraction in fit_texture(network.texture, areas, seed):
            yield PreparationProgress("Learning the texture", fraction)


def _may_race(config: TrainingConfig, device: torch.device) -> bool:
    """Whether the number of threads may change, and with it the last bits of the weights."""
    return device.type == "cpu" and (config.discriminator or config.minutes is not None)


def _matched_features(
    config: TrainingConfig, alexnet: str | os.PathLike[str] | None
) -> Generator[PreparationProgress, Any, nn.Module]:
    """Return the pretrained layers that the system ``fmae`` compares patches by."""
    if config.feature_network == "alexnet":
        return (yield from AlexNetFeatures.pretrained(alexnet))
    from ...io.artifacts.pretrained_weights import read_backbone_weights

    return BackboneFeatures(read_backbone_weights())


def _heeded(
    steps: Generator[PreparationProgress, Any, nn.Module],
) -> Generator[PreparationProgress, str | None, tuple[nn.Module, bool]]:
    """Pass messages on; returns, with what comes of it, whether `STOP` was sent meanwhile."""
    stopped = False
    while True:
        try:
            message = next(steps)
        except StopIteration as finished:
            return finished.value, stopped
        stopped |= (yield message) == STOP


def trained_by(
    model: DefectModel,
    images: Sequence[ImageLike],
    config: TrainingConfig,
    *,
    masks: Sequence[npt.NDArray[np.bool_] | None] | None = None,
    channel_axis: int | None = None,
) -> bool:
    """Tell whether a model was trained on these images by this recipe, whatever it is called.

    Parameters
    ----------
    model
        The model; a training of it that was stopped counts, too.
    images, config, masks, channel_axis
        As for `train`.

    Raises
    ------
    InputError
        If the images cannot be trained on.
    """
    areas = read_areas(training_planes(images, channel_axis, None), masks, config.patch_size)
    return model.provenance.get(_RECIPE) == _digest(config, fingerprint(areas))


def _digest(config: TrainingConfig, images: str) -> str:
    """Return a text that tells a recipe and the fingerprint of its images from all others."""
    settings = config.model_dump_json(exclude={"name"})
    return hashlib.blake2b(f"{settings} {images}".encode(), digest_size=16).hexdigest()


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

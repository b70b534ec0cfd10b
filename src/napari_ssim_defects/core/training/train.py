"""Training on defect-free images, as a generator of typed messages."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from threading import Event

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..common.device import choose_device, memory_kept, to_device
from ..common.progress import CalibrationProgress, PreparationProgress, relayed
from ..config import AugmentationConfig, TrainingConfig
from ..detection.anomaly_score import weighted_by_skill
from ..images.intensity import IntensityRange, odd_intensities
from ..images.planes import ImageLike, Planes, bit_depth
from ..model.calibrate import GoodImages, calibrate_residuals, usual_pixels
from ..model.defect_model import DefectModel
from ..model.trial import try_on_painted
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
from ..patches.patch_source import PatchSource, fixed_patches
from ..patches.symmetry import find_symmetries
from .checkpoint import Checkpoint, load_arrays
from .loader import GPU_PREFETCH_BATCHES, BatchLoader, PatchSampler
from .losses import Criterion
from .messages import (
    FEATURES,
    TEXTURE,
    TRIAL,
    TrainingCheckpoint,
    TrainingFinished,
    TrainingMessage,
    TrainingNotice,
    TrainingStarted,
)
from .outlook import measuring_seconds
from .resources import thread_race
from .trainer import Trainer
from .validation import Validation

__all__ = ["STOP", "train", "trained_by"]

STOP = "stop"
"""Sent to the generator, it ends the training; the best model so far comes next."""

_REPORT_SECONDS = 0.4
_CHECKPOINT_SECONDS = 30.0
_CALIBRATION_PIXELS, _TRAINED_PIXELS = 3_000_000, 6_000_000
_CONFIG_DIGEST = "recipe"  # its name in the provenance


def train(
    images: Sequence[ImageLike],
    config: TrainingConfig | None = None,
    *,
    masks: Sequence[npt.NDArray[np.bool_] | None] | None = None,
    channel_axis: int | None = None,
    names: Sequence[str] | None = None,
    device: str | None = None,
    alexnet: str | os.PathLike[str] | None = None,
    state: Checkpoint | None = None,
) -> Generator[TrainingMessage, str | None, None]:
    """Train an autoencoder on images without defects.

    Parameters
    ----------
    images
        Defect-free images or stacks: grey (..., H, W), RGB (..., H, W, 3), or multichannel with
        ``channel_axis``; any integer or floating-point dtype; numpy, dask or zarr arrays, or
        `Planes` of them. Of large ones that are not in memory a sample is read (see `read_areas`).
    config
        The config; None: preset ``quick``, or that of ``state``.
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
        From a `TrainingCheckpoint` of a training of the same images with the same config: the
        training is resumed from there, and a limit of minutes counts anew. On a CPU without a
        discriminator and without a limit, or with one thread, it ends with the same weights as an
        uninterrupted one.

    Yields
    ------
    TrainingMessage
        `PreparationProgress` while weights are fetched, features and texture are fitted, or the
        members of an ensemble are tried on painted defects;
        `TrainingStarted`; then `TrainingStep` at least twice a second with a `TrainingPreview`
        and a `TrainingNotice` in between now and then, and a `TrainingCheckpoint` early on,
        every half a minute and after the last step; at last `TrainingFinished`, which carries
        the model. Send `STOP` to end early with the best model so far; close the generator to
        throw it away.

    Raises
    ------
    InputError
        If the images cannot be trained on: none, fewer than two dimensions, NaN, constant,
        different channels, bit depths whose numbers differ, all smaller than a patch; if there are
        more or fewer masks or names than images; if ``state`` is of other images or another
        config; or if AlexNet's weights are needed and not to be had.

    References
    ----------
    Bergmann et al. 2018, section 4.2.
    """
    if config is None:
        config = TrainingConfig.preset("quick") if state is None else state.config
    where = choose_device(device)
    data = _TrainingData.from_images(images, masks, channel_axis, names, config)
    for text in odd_intensities(data.planes, masks):
        yield TrainingNotice(text)
    if state is not None:
        state.refuse_other(config, data.fingerprint)
    stopped = Event()
    with closing(_steps(data, config, where, alexnet, state, stopped)) as steps:
        for message in steps:
            if (yield message) == STOP:
                stopped.set()


@dataclass(frozen=True)
class _TrainingData:
    """What a training reads of its images.

    Attributes
    ----------
    planes
        The images.
    fingerprint
        Tells their defect-free areas from all others.
    intensity
        Range that intensities are normalised by.
    areas
        All defect-free areas, normalised.
    training, held_out
        The areas that are trained and validated on; the second may be empty.
    side
        Side of the patches to train on, in pixels.
    """

    planes: Sequence[Planes]
    fingerprint: str
    intensity: IntensityRange
    areas: Sequence[TrainingArea]
    training: Sequence[TrainingArea]
    held_out: Sequence[TrainingArea]
    side: int

    @classmethod
    def from_images(
        cls,
        images: Sequence[ImageLike],
        masks: Sequence[npt.NDArray[np.bool_] | None] | None,
        channel_axis: int | None,
        names: Sequence[str] | None,
        config: TrainingConfig,
    ) -> _TrainingData:
        """Read and check images; parameters and errors are those of `train`."""
        planes = training_planes(images, channel_axis, names)
        areas = read_areas(planes, masks, config.patch_size)
        mark = fingerprint(areas)
        intensity = IntensityRange.from_planes(
            (area.good_pixels for area in areas), config.intensity_percentiles
        )
        areas = [area.normalised(intensity) for area in areas]
        side = training_side(areas, config)
        refuse_single_patches(config, side)
        training, held_out = split(areas, config.validation, side)
        return cls(planes, mark, intensity, areas, training, held_out, side)

    @cached_property
    def good(self) -> GoodImages:
        """What residuals are calibrated on."""
        return GoodImages(
            spread_over(self.held_out, _CALIBRATION_PIXELS)
            or spread_over(self.areas, _CALIBRATION_PIXELS),
            held_out=bool(self.held_out),
            image_pixels=usual_pixels(self.planes),
            images=len(self.areas),
            trained=spread_over(self.training, _TRAINED_PIXELS) if self.held_out else (),
        )

    def validation_patches(self, config: TrainingConfig, device: torch.device) -> torch.Tensor:
        """Cut patches (N, C, S, S) to validate on, always the same ones."""
        return fixed_patches(self.held_out or self.training, self.side, config, device)


def _steps(
    data: _TrainingData,
    config: TrainingConfig,
    device: torch.device,
    alexnet: str | os.PathLike[str] | None,
    state: Checkpoint | None,
    stopped: Event,
) -> Generator[TrainingMessage, None, None]:
    """Prepare, fit and finish; the fit ends early when it is ``stopped``."""
    patches = data.validation_patches(config, device)
    features = None
    if config.system == "fmae":
        features = (yield from _matched_features(config, alexnet)).to(device)
    criterion = Criterion(config, torch.Generator(device), features)
    with thread_race() as threads:
        race = threads if _may_race(config, device) else None
        if race is not None:
            race.settle(lambda: step_time(torch.float32))
        network, augmentation = yield from _prepared_network(data, config, state)
        network = to_device(network, device)
        source = PatchSource(data.training, data.side, augmentation, device)
        sampler = PatchSampler(source, config.patches, config.fixed_patches, config.seed)
        at_once = 1 if device.type == "cpu" else GPU_PREFETCH_BATCHES
        loader = BatchLoader(sampler, criterion, at_once)
        validation = Validation(config, criterion, patches, held_out=bool(data.held_out))
        with memory_kept():
            trainer = Trainer(config, network, device, loader, criterion, validation, race)
            if state is not None:
                trainer.resume(state)
            yield TrainingStarted(
                device=str(device),
                precision=str(fast_dtype(device)).removeprefix("torch."),
                parameters=sum(parameter.numel() for parameter in network.parameters()),
                planes=len(data.areas),
                fraction=trainer.fraction,
                measuring_seconds=measuring_seconds(
                    network, data.good.predicted(config.residual), config, device
                ),
            )
            yield from _fit(trainer, data.fingerprint, stopped)
        early = stopped.is_set() and trainer.fraction < 1
        model = yield from _finished_model(data, trainer, augmentation, early)
    yield TrainingFinished(model, early, trainer.share)


def _prepared_network(
    data: _TrainingData, config: TrainingConfig, state: Checkpoint | None
) -> Generator[PreparationProgress, None, tuple[Autoencoder, AugmentationConfig]]:
    """Make the network on the CPU, and find out how its patches may be augmented."""
    network = Autoencoder.from_config(config, data.planes[0].channels)
    initialise(network, config.seed)
    if state is not None:
        load_arrays(network, state.network)
    else:
        yield from _fitted_in_closed_form(network, data.training, config.seed)
    augmentation = config.augmentation
    if augmentation.symmetries and network.texture is not None:
        flips, turns = find_symmetries(network.texture, data.held_out or data.training)
        augmentation = augmentation.replace(flips=flips, quarter_turns=turns)
    return network, augmentation


def _fit(trainer: Trainer, fingerprint: str, stopped: Event) -> Iterator[TrainingMessage]:
    """Make the steps; report, validate and keep checkpoints."""
    checkpoint_at = trainer.loop.elapsed
    while trainer.fraction < 1 and not stopped.is_set():
        report_at = trainer.loop.elapsed + _REPORT_SECONDS
        while True:
            trainer.step()
            due = trainer.fraction >= 1 or trainer.loop.elapsed >= report_at
            if due or trainer.validation_due:
                break
        recovered = trainer.recover()
        if trainer.validation_due and not recovered:
            trainer.validate()
            yield trainer.preview()
        yield from trainer.notices()
        if recovered or not trainer.reportable:
            continue
        yield trainer.report()
        if trainer.loop.elapsed >= checkpoint_at or trainer.fraction >= 1 or stopped.is_set():
            checkpoint_at = trainer.loop.elapsed + _CHECKPOINT_SECONDS
            yield TrainingCheckpoint(trainer.state(fingerprint))


def _finished_model(
    data: _TrainingData, trainer: Trainer, augmentation: AugmentationConfig, stopped: bool
) -> Generator[TrainingMessage, None, DefectModel]:
    """Calibrate the residuals of the best weights, and make a model of them."""
    origin = _provenance(data.planes, trainer.device, trainer.loop.elapsed)
    origin[_CONFIG_DIGEST] = _digest(trainer.config, data.fingerprint)
    trainer.restore_best()
    network, validation = trainer.network, trainer.validation
    reconstruction_skill = validation.reconstruction_skill(validation.reconstruct(network))
    warnings = _warnings(trainer, reconstruction_skill, stopped)
    for text in warnings:
        yield TrainingNotice(text)
    skills, squares = yield from relayed(
        validation.skills(network), partial(PreparationProgress, TRIAL)
    )
    weighted = weighted_by_skill(trainer.config.residual, reconstruction_skill, skills)
    config = trainer.config.replace(residual=weighted, augmentation=augmentation)
    own, *others = yield from calibrate_residuals(
        network, data.good, config, config.residuals, trainer.device
    )
    config = config.replace(residual=own.residual)  # an ensemble has levels by now
    painted = yield from relayed(
        try_on_painted(network, validation.patches, config, trainer.device, squares),
        lambda _: CalibrationProgress(1.0),
    )
    return DefectModel(
        config=config,
        network=network.to("cpu"),
        channels=data.planes[0].channels,
        channel_axis=data.planes[0].channel_axis,
        intensity=data.intensity,
        calibration=own.calibration,
        alternatives=tuple(others),
        history=trainer.loop.history,
        warnings=warnings,
        painted=painted,
        provenance=origin,
    )


def _warnings(trainer: Trainer, skill: float, stopped: bool) -> tuple[str, ...]:
    """Return what users of the model should know about its training."""
    warnings = trainer.validation.warnings(skill)
    if trainer.share == 1 or stopped:
        return warnings
    return (
        *warnings,
        f"The time limit of {trainer.config.minutes:g} minutes ended the training after "
        f"{trainer.share:.0%} of its steps; resume it to continue.",
    )


def _fitted_in_closed_form(
    network: Autoencoder, areas: Sequence[TrainingArea], seed: int
) -> Iterator[PreparationProgress]:
    """Load the pretrained part of a network on the CPU, and fit all that needs no steps."""
    if network.backbone is not None:
        from ...io.artifacts.pretrained_weights import read_backbone_weights

        network.backbone.load_pretrained(read_backbone_weights())
        if network.features is not None:
            yield PreparationProgress(FEATURES, 0.0)  # what was done before is no part of it
            for fraction in fit_features(network.features, network.backbone, areas):
                yield PreparationProgress(FEATURES, fraction)
    if network.texture is not None:
        for fraction in fit_texture(network.texture, areas, seed):
            yield PreparationProgress(TEXTURE, fraction)


def _may_race(config: TrainingConfig, device: torch.device) -> bool:
    """Whether the number of threads may change, and with it the last bits of the weights."""
    return device.type == "cpu" and (config.discriminator or config.minutes is not None)


def _matched_features(
    config: TrainingConfig, alexnet: str | os.PathLike[str] | None
) -> Generator[PreparationProgress, None, nn.Module]:
    """Return the pretrained layers that the system ``fmae`` compares patches by."""
    if config.feature_network == "alexnet":
        return (yield from AlexNetFeatures.pretrained(alexnet))
    from ...io.artifacts.pretrained_weights import read_backbone_weights

    return BackboneFeatures(read_backbone_weights())


def trained_by(
    model: DefectModel,
    images: Sequence[ImageLike],
    config: TrainingConfig,
    *,
    masks: Sequence[npt.NDArray[np.bool_] | None] | None = None,
    channel_axis: int | None = None,
) -> bool:
    """Tell whether a model was trained on these images with this config, whatever its name.

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
    return model.provenance.get(_CONFIG_DIGEST) == _digest(config, fingerprint(areas))


def _digest(config: TrainingConfig, images: str) -> str:
    """Return a digest of a config and the fingerprint of its images."""
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
        "bit depth": ", ".join(dict.fromkeys(bit_depth(stack.dtype) for stack in planes)),
    }

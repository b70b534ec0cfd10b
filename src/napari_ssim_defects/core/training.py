"""Training on defect-free images, as a generator of typed messages."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .calibration import Calibration
from .config import TrainingConfig
from .device import autocast, choose_device, fast_dtype
from .errors import InputError
from .intensity import IntensityRange
from .losses import training_loss
from .model import DefectModel, HistoryEntry
from .networks import Autoencoder, initialise
from .patches import PatchSource, TrainingArea, split
from .planes import ImageLike, Planes, as_planes
from .progress import (
    CalibrationProgress,
    TrainingFinished,
    TrainingMessage,
    TrainingPreview,
    TrainingStarted,
    TrainingStep,
)
from .reconstruction import reconstruct_plane
from .residual import residual_map

__all__ = ["STOP", "train"]

STOP = "stop"
"""Sent to the generator, it ends the training; the best model so far comes next."""

_REPORT_SECONDS = 0.4
_VALIDATION_PATCHES = 128
_VALIDATIONS = 25  # over the whole training
_PREVIEW_PATCHES = 4
_CALIBRATION_PIXELS = 3_000_000
_WARM_UP = 0.1  # part of the training in which the learning rate rises


def train(
    images: Sequence[ImageLike],
    config: TrainingConfig | None = None,
    *,
    masks: Sequence[npt.NDArray[np.bool_] | None] | None = None,
    channel_axis: int | None = None,
    names: Sequence[str] | None = None,
    device: str | None = None,
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

    Yields
    ------
    TrainingMessage
        `TrainingStarted`, then `TrainingStep` at least twice a second with a `TrainingPreview`
        and a `TrainingNotice` in between now and then, at last `TrainingFinished`, which carries
        the model. Send `STOP` to end early with the best model so far; close the generator to
        throw it away.

    Raises
    ------
    InputError
        If the images cannot be trained on: none, fewer than two dimensions, NaN, constant,
        different channels, all smaller than a patch.

    References
    ----------
    Bergmann et al. 2018, section 4.2.
    """
    config = config or TrainingConfig.preset("quick")
    where = choose_device(device)
    planes = _planes(images, channel_axis, names)
    intensity = IntensityRange.of(
        (plane for stack in planes for plane in stack), config.intensity_percentiles
    )
    areas = _areas(planes, masks, intensity)
    training, held_out = split(areas, config.validation, config.patch_size)
    generator = np.random.default_rng(config.seed)
    source = PatchSource(training, config.patch_size, config.augmentation, where)
    samples = PatchSource(held_out or training, config.patch_size, config.augmentation, where)
    validation = samples.cut(
        samples.positions(_VALIDATION_PATCHES, np.random.default_rng(config.seed + 1))
    )

    network = Autoencoder(
        config.patch_size, planes[0].channels, config.latent_dimension, config.batch_norm
    )
    initialise(network, config.seed)
    network = network.to(where, memory_format=torch.channels_last)
    yield TrainingStarted(
        device=str(where),
        precision=str(fast_dtype(where)).removeprefix("torch."),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        planes=len(areas),
    )
    batches = source.batches(config.batch_size, config.patches, config.fixed_patches, generator)
    run = _Run(config, network, where, batches, validation)
    stopped = False
    while run.fraction < 1 and not stopped:
        yield_at = run.elapsed + _REPORT_SECONDS
        while run.fraction < 1 and run.elapsed < yield_at and not run.validation_due:
            run.step()
        if run.validation_due:
            run.validate()
            stopped |= (yield run.preview()) == STOP
        stopped |= (yield run.report()) == STOP
    run.restore_best()
    calibration = yield from _calibrate(network, training, held_out, config, where)
    yield TrainingFinished(
        DefectModel(
            config=config,
            network=network.to("cpu", memory_format=torch.contiguous_format),
            channels=planes[0].channels,
            channel_axis=planes[0].channel_axis,
            intensity=intensity,
            calibration=calibration,
            history=tuple(run.history),
            provenance=_provenance(planes, where, run.elapsed),
        ),
        stopped,
    )


@dataclass
class _Run:
    """The optimisation: its network, its clock, and the best weights so far."""

    config: TrainingConfig
    network: Autoencoder
    device: torch.device
    batches: Iterator[torch.Tensor]
    validation: torch.Tensor
    history: list[HistoryEntry] = field(default_factory=list)
    steps: int = 0
    elapsed: float = 0.0  # seconds of work; waiting for whoever reads the messages not counted

    def __post_init__(self) -> None:
        self._optimiser = torch.optim.Adam(
            self.network.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self._losses: list[torch.Tensor] = []
        self._patches = 0
        self._validations = 0
        self._best_loss = float("inf")
        self._best_weights: dict[str, Any] = {}

    @property
    def fraction(self) -> float:
        """Part of the budget that is used, in [0, 1]."""
        if self.config.minutes is not None:
            return min(1.0, self.elapsed / (60 * self.config.minutes))
        steps = -(-self.config.patches // self.config.batch_size) * self.config.epochs
        return min(1.0, self.steps / steps)

    @property
    def validation_due(self) -> bool:
        """Whether it is time to look at the validation patches again."""
        return int(self.fraction * _VALIDATIONS) > self._validations

    def step(self) -> None:
        """Make one optimiser step."""
        start = time.perf_counter()
        patches = next(self.batches).contiguous(memory_format=torch.channels_last)
        rate = self.config.learning_rate * _schedule(self.config.schedule, self.fraction)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        self._optimiser.zero_grad(set_to_none=True)
        with autocast(self.device):
            outputs = self.network(patches)
        loss = training_loss(patches, outputs, self.config)
        loss.backward()
        self._optimiser.step()
        self._losses.append(loss.detach())
        self._patches += len(patches)
        self.steps += 1
        self.elapsed += time.perf_counter() - start

    def validate(self) -> None:
        """Measure the validation loss and keep the weights if they are the best so far."""
        start = time.perf_counter()
        outputs = self._reconstruct(self.validation)
        loss = float(training_loss(self.validation, outputs, self.config))
        if loss < self._best_loss:
            self._best_loss = loss
            self._best_weights = copy.deepcopy(self.network.state_dict())
        self._validations = int(self.fraction * _VALIDATIONS)
        self.elapsed += time.perf_counter() - start
        training = float(torch.stack(self._losses).mean()) if self._losses else loss
        self.history.append(HistoryEntry(self.steps, self.elapsed, training, loss))

    def restore_best(self) -> None:
        """Give the network its best weights and put it into evaluation mode."""
        if self._best_weights:
            self.network.load_state_dict(self._best_weights)
        self.network.eval()

    def report(self) -> TrainingStep:
        """Describe the steps since the last report."""
        loss = float(torch.stack(self._losses).mean())
        self._losses = self._losses[-1:]
        return TrainingStep(
            step=self.steps,
            fraction=self.fraction,
            loss=loss,
            validation_loss=self.history[-1].validation_loss if self.history else None,
            elapsed=self.elapsed,
            remaining=self.elapsed * (1 / self.fraction - 1),
            patches_per_second=self._patches / self.elapsed,
        )

    def preview(self) -> TrainingPreview:
        """Show the first validation patches as the network sees them now."""
        patches = self.validation[:_PREVIEW_PATCHES]
        outputs = self._reconstruct(patches)
        inputs, reconstructions = (tensor.cpu().numpy() for tensor in (patches, outputs))
        residuals = [
            residual_map(x, y, self.config.residual)
            for x, y in zip(inputs, reconstructions, strict=True)
        ]
        return TrainingPreview(inputs, reconstructions, np.stack(residuals))

    def _reconstruct(self, patches: torch.Tensor) -> torch.Tensor:
        self.network.eval()
        with torch.no_grad(), autocast(self.device):
            return self.network(patches.contiguous(memory_format=torch.channels_last)).float()


def _schedule(kind: str, fraction: float) -> float:
    """Learning rate as a fraction of its peak."""
    if kind == "constant":
        return 1.0
    if fraction < _WARM_UP:
        return 0.1 + 0.9 * fraction / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (fraction - _WARM_UP) / (1 - _WARM_UP))


def _planes(
    images: Sequence[ImageLike], channel_axis: int | None, names: Sequence[str] | None
) -> list[Planes]:
    if len(images) == 0:
        raise InputError("There is no training image; choose at least one without defects.")
    names = names or [f"training image {number}" for number in range(1, len(images) + 1)]
    planes = [
        as_planes(image, channel_axis, name=name)
        for image, name in zip(images, names, strict=True)
    ]
    for other in planes[1:]:
        if other.channels != planes[0].channels:
            raise InputError(
                f"Training images must have the same channels, but {planes[0].name} has "
                f"{planes[0].channels} and {other.name} has {other.channels}; choose images "
                "of one kind."
            )
    return planes


def _areas(
    stacks: Sequence[Planes],
    masks: Sequence[npt.NDArray[np.bool_] | None] | None,
    intensity: IntensityRange,
) -> list[TrainingArea]:
    areas = []
    for stack, mask in zip(stacks, masks or [None] * len(stacks), strict=True):
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
            areas.append(
                TrainingArea(
                    intensity.normalise(plane), None if allowed is None else allowed[index]
                )
            )
    return areas


def _calibrate(
    network: Autoencoder,
    training: Sequence[TrainingArea],
    held_out: Sequence[TrainingArea],
    config: TrainingConfig,
    device: torch.device,
) -> Generator[CalibrationProgress, Any, Calibration]:
    """Measure residuals on good pixels, held-out ones first, up to a number of pixels."""
    areas = _within_budget(held_out) or _within_budget(training)
    residuals = []
    for index, area in enumerate(areas):
        steps = reconstruct_plane(network, area.pixels, config.patch_size, config.stride, device)
        while True:
            try:
                done = next(steps)
            except StopIteration as finished:
                residual = residual_map(area.pixels, finished.value, config.residual)
                break
            yield CalibrationProgress((index + done) / len(areas))
        residuals.append(residual if area.allowed is None else residual[area.allowed])
    return Calibration.of(residuals, held_out=bool(held_out))


def _within_budget(areas: Sequence[TrainingArea]) -> list[TrainingArea]:
    """Spread the calibration over as many areas as it has time for."""
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

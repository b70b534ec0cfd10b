"""A trained model: weights, config, intensity range and calibration."""

from __future__ import annotations

import copy
import hashlib
import os
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from ..common.array_checks import whole_number
from ..common.device import choose_device, memory_kept, to_device
from ..common.errors import InputError
from ..common.progress import (
    DetectionProgress,
    ImageDetected,
    PlaneDetected,
    drained,
    relayed,
)
from ..config import ResidualKind, TrainingConfig
from ..detection.anomaly_score import foreign_notice, looks_foreign
from ..detection.predictions import predict_plane
from ..detection.residual import score_whole_plane
from ..images.inspected_area import InspectedArea
from ..images.intensity import IntensityRange, intensity_sample
from ..images.planes import ImageLike, Planes, as_planes, bit_depth
from ..images.tiles import Box
from ..networks.autoencoder import Autoencoder
from .calibration import CalibratedResidual, Calibration, limits_beyond
from .corrections import Corrections, Mark, corrected
from .thresholds import FalseRegionsThreshold, FixedThreshold, ThresholdPolicy
from .verdict import PaintedDefect, Verdict, trained_on, verdict_of

__all__ = ["DefectModel", "HistoryEntry"]

_AUTOMATIC = FalseRegionsThreshold()


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of the training history: step, seconds since the start, and the losses."""

    step: int
    seconds: float
    loss: float
    validation_loss: float | None


@dataclass(frozen=True, eq=False)
class DefectModel:
    """A trained model, which a training returns and detection needs.

    Attributes
    ----------
    config
        The config that it was trained with.
    network
        The trained network, in evaluation mode, on the CPU.
    channels
        Number of image channels C.
    channel_axis
        Axis of the channels in the training images, counted from the end; None for grey.
    intensity
        Intensities of the training images that are mapped to 0 and 1.
    calibration
        Residuals of defect-free pixels.
    alternatives
        Other residuals that the network can be scored by, with their calibrations.
    threshold
        How the automatic threshold is chosen; by default one region of a usual good image is
        outlined, or none.
    history
        Losses over the training.
    warnings
        Warnings about the training for users of the model, as sentences.
    painted
        Painted defects that it was tried on (see `Verdict`); none if it was not tried.
    corrections
        Regions that a person marked as good or as defects (see `correct`).
    provenance
        Versions, device, date, duration, names and bit depth of the training images, which are
        informative only, and the digest by which `trained_by` recognises the training.
    """

    config: TrainingConfig
    network: Autoencoder
    channels: int
    channel_axis: int | None
    intensity: IntensityRange
    calibration: Calibration
    alternatives: tuple[CalibratedResidual, ...] = ()
    threshold: ThresholdPolicy = _AUTOMATIC
    history: tuple[HistoryEntry, ...] = ()
    warnings: tuple[str, ...] = ()
    painted: tuple[PaintedDefect, ...] = ()
    corrections: tuple[Mark, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DefectModel:
        """Read a model file; nothing in it is executed.

        Raises
        ------
        InputError
            If it is not a model file, is damaged, or was written by a newer version.
        """
        from ...io.artifacts.model_file import read_model

        return read_model(path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file, whole or not at all.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        from ...io.artifacts.model_file import write_model

        write_model(self, path)

    @cached_property
    def digest(self) -> str:
        """Digest of everything that residuals depend on."""
        digest = hashlib.blake2b(digest_size=16)
        settings = self.config.model_dump_json(), self.channels, self.channel_axis, self.intensity
        digest.update(repr(settings).encode())
        for name, weights in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(weights.cpu().numpy()).data)
        return digest.hexdigest()

    def __getstate__(self) -> dict[str, object]:
        """Leave out copies of the network on devices, which another computer may not have."""
        return {name: value for name, value in self.__dict__.items() if name != "_networks"}

    @property
    def auto_threshold(self) -> float:
        """The threshold that the model's policy gives, from good images and corrections."""
        return self.corrected.threshold

    @cached_property
    def corrected(self) -> Corrections:
        """The automatic threshold and the good material after the corrections."""
        return corrected(self.threshold, self.calibration, self.corrections)

    @property
    def contrast_limits(self) -> tuple[float, float]:
        """Display range of residuals: good images are dark, and the threshold lies well inside."""
        return limits_beyond(self.calibration.contrast_limits, self.auto_threshold)

    @property
    def verdict(self) -> Verdict | None:
        """Whether it can be relied on, as it is calibrated now; None if it was not tried."""
        return verdict_of(self.painted, self.corrected.calibration, self.auto_threshold)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report says of the model: training, verdict, corrections, and warnings."""
        verdict = () if self.verdict is None else (self.verdict.text,)
        corrections = (self.corrected.text,) if self.corrections else ()
        return (*trained_on(self.provenance), *verdict, *corrections, *self.warnings)

    @property
    def calibrated_residuals(self) -> tuple[CalibratedResidual, ...]:
        """All residuals that it can be scored by, the one in use first."""
        return (CalibratedResidual(self.config.residual, self.calibration), *self.alternatives)

    def with_calibrated_residuals(self, calibrated: Sequence[CalibratedResidual]) -> DefectModel:
        """Return the same network, scored by the first of these; the others stay available."""
        first, *others = calibrated
        same = first.residual.kind == self.config.residual.kind
        threshold = self.threshold
        if not same and isinstance(threshold, FixedThreshold):
            threshold = _AUTOMATIC  # a number means something else there, as do levels of marks
        return replace(
            self,
            config=self.config.replace(residual=first.residual),
            calibration=first.calibration,
            alternatives=tuple(others),
            threshold=threshold,
            painted=(),  # their levels are those of the calibration before
            corrections=self.corrections if same else (),
        )

    def with_residual(self, kind: ResidualKind | None) -> DefectModel:
        """Return the same network, scored by another residual and its own calibration.

        Parameters
        ----------
        kind
            A kind that the model has (see `calibrated_residuals`); None: as it is.

        Raises
        ------
        InputError
            If the model was not calibrated for this residual.
        """
        if kind is None or kind == self.config.residual.kind:
            return self
        every = self.calibrated_residuals
        chosen = [each for each in every if each.residual.kind == kind]
        if not chosen:
            known = ", ".join(each.residual.kind for each in every)
            raise InputError(
                f"The model does not offer the residual {kind}; choose one of {known}."
            )
        return self.with_calibrated_residuals(
            [*chosen, *(each for each in every if each.residual.kind != kind)]
        )

    def planes(
        self, image: ImageLike, channel_axis: int | None = None, name: str = "image"
    ) -> Planes:
        """Give access to an image as planes that this model can take.

        Parameters
        ----------
        image
            Array of shape (..., H, W), with channels where the training images had them
            unless ``channel_axis`` says otherwise; or planes, which are only checked.
        channel_axis
            Axis of the channels, if it differs from the training images'.
        name
            What error messages call the image.

        Raises
        ------
        InputError
            If the array is no image (see `as_planes`) or has other channels than the model.
        """
        if isinstance(image, Planes):
            return self._checked(image)
        axis = self.channel_axis if channel_axis is None else channel_axis
        if axis is not None and channel_axis is None and len(np.shape(image)) < 3:
            axis = None  # a grey image: said so below
        if axis == -1 and self.channels == 3:
            axis = None  # as_planes finds RGB and RGBA by itself
        return self._checked(as_planes(image, axis, name=name))

    def _checked(self, planes: Planes) -> Planes:
        """Refuse planes of other channels than the model's."""
        if planes.channels != self.channels:
            kinds = {1: "grey images", 3: "RGB images"}
            needs = kinds.get(self.channels, f"images of {self.channels} channels")
            has = {1: "is grey", 3: "is RGB"}.get(
                planes.channels, f"has {planes.channels} channels"
            )
            raise InputError(
                f"The model was trained on {needs}, but {planes.name} {has}; convert it, or train "
                "a model on such images."
            )
        return planes

    def detect(
        self,
        image: ImageLike,
        *,
        stride: int | None = None,
        channel_axis: int | None = None,
        device: str | None = None,
        name: str = "image",
        reconstruct: bool = False,
        area: InspectedArea | None = None,
    ) -> Iterator[DetectionProgress | PlaneDetected]:
        """Score an image plane by plane, with messages about the progress.

        Parameters
        ----------
        image
            Array as for `planes`.
        stride
            Distance between patches, in pixels; None: the config's.
        channel_axis
            Axis of the channels, if it differs from the training images'.
        device
            Where the network runs; None: the fastest there is.
        name
            What error messages call the image.
        reconstruct
            Whether to return the reconstruction even if no residual needs it.
        area
            The pixels to inspect; None: all. The residual of others is 0. What is outside of their
            box is not looked at, and is its own reconstruction.

        Yields
        ------
        DetectionProgress or PlaneDetected
            A `PlaneDetected` per plane, in order, with `DetectionProgress` before it.

        Raises
        ------
        InputError
            If the image or the device cannot be used.
        """
        if stride is not None and whole_number(stride, "stride") < 1:
            raise InputError(f"The stride must be at least 1 pixel, not {stride}.")
        planes = self.planes(image, channel_axis, name)
        where = choose_device(device)
        network, residual = self.network_on(where), self.config.residual
        height, width = planes.height, planes.width
        area = area or InspectedArea(height, width, Box(0, 0, height, width))
        part = planes.cut(area.box)
        with memory_kept():
            for number in range(len(planes)):
                plane = self.intensity.normalise(part[number], planes.name)
                steps = predict_plane(
                    network, plane, self.config, stride or self.config.stride, where, [residual],
                    reconstruct=reconstruct,
                )  # fmt: skip

                def progress(done: float, number: int = number) -> DetectionProgress:
                    return DetectionProgress((number + done) / len(planes))

                found = yield from relayed(steps, progress)
                here = area.plane(planes.place(number))
                score, excess = score_whole_plane(plane, found, residual, here.inside)
                reconstruction = found.reconstruction
                if reconstruction is not None:
                    reconstruction = self.intensity.restore(reconstruction[: self.channels])
                    if area.box.shape != (height, width):
                        whole = planes[number]
                        whole[:, *area.box.slices] = reconstruction
                        reconstruction = whole
                foreign = looks_foreign(excess, residual)
                yield PlaneDetected(here.embedded(score), reconstruction, foreign)

    def detect_image(
        self,
        planes: Planes,
        *,
        stride: int | None = None,
        device: str | None = None,
        reconstruct: bool = False,
        area: InspectedArea | None = None,
    ) -> Generator[float, None, ImageDetected]:
        """Score all planes of an image; parameters and errors are those of `detect`.

        Yields
        ------
        float
            Fraction of the work that is done, in [0, 1].
        """
        residuals: list[npt.NDArray[np.float32]] = []
        reconstructions: list[npt.NDArray[np.float32]] = []
        foreign = False
        for message in self.detect(
            planes, stride=stride, device=device, reconstruct=reconstruct, area=area
        ):
            if isinstance(message, DetectionProgress):
                yield message.fraction
                continue
            residuals.append(message.residual)
            foreign |= message.foreign
            if reconstruct and message.reconstruction is not None:
                reconstructions.append(message.reconstruction)
        return ImageDetected(
            np.stack(residuals).reshape(planes.shape),
            planes.assembled(reconstructions) if reconstruct else None,
            foreign,
        )

    def residual(
        self,
        image: ImageLike,
        *,
        stride: int | None = None,
        channel_axis: int | None = None,
        device: str | None = None,
        roi: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return the residual map of an image or a stack; parameters as for `detect`.

        Parameters
        ----------
        image, stride, channel_axis, device
            As for `detect`.
        roi
            What is inspected, the region of interest: not zero there, of shape (H, W) or
            (..., H, W). None: all. The residual of other pixels is 0.

        Returns
        -------
        numpy.ndarray
            float32 of shape (..., H, W); 0 = perfectly good.

        Warns
        -----
        UserWarning
            If intensities lie far outside those of the training images, on another scale, or the
            image looks unlike all of them.
        """
        planes = self.planes(image, channel_axis)
        area = None if roi is None else InspectedArea.from_mask(roi, planes.shape)
        found = drained(self.detect_image(planes, stride=stride, device=device, area=area))
        inspected = planes if area is None else planes.cut(area.box)
        foreign = foreign_notice(planes.name) if found.foreign else None
        for odd in (self.intensity_notice(inspected), foreign):
            if odd is not None:
                warnings.warn(odd, stacklevel=2)
        return found.residual

    def intensity_notice(self, planes: Planes) -> str | None:
        """Say that an image was saved on another scale than the training images.

        Returns
        -------
        str or None
            One sentence with both ranges; None if the image fits.
        """
        depths = self.provenance.get("bit depth", "").split(", ")
        return self.intensity.mismatch(
            intensity_sample(planes),
            planes.name,
            "those of the training images",
            other_depth=depths != [""] and bit_depth(planes.dtype) not in depths,
        )

    def reconstruct(
        self,
        image: ImageLike,
        *,
        stride: int | None = None,
        channel_axis: int | None = None,
        device: str | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return the reconstruction of an image or a stack; parameters as for `detect`.

        Returns
        -------
        numpy.ndarray
            float32 of the shape of ``image`` (without opacity), in its intensities.
        """
        planes = self.planes(image, channel_axis)
        steps = self.detect_image(planes, stride=stride, device=device, reconstruct=True)
        reconstruction = drained(steps).reconstruction
        assert reconstruction is not None
        return reconstruction

    def network_on(self, device: torch.device) -> Autoencoder:
        """Return a copy of the network on a device; the model is not changed."""
        if device not in self._networks:
            self._networks[device] = to_device(copy.deepcopy(self.network), device)
        return self._networks[device]

    @cached_property
    def _networks(self) -> dict[torch.device, Autoencoder]:
        """Copies of the network by device, so that the model itself stays as it is."""
        return {}

"""Intensities of images: their normalisation, which never clips, and odd ones among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt

from ..common.errors import InputError
from .planes import Planes, bit_depth

__all__ = ["USUAL_PERCENTILES", "IntensityRange", "intensity_sample", "odd_intensities"]

_SAMPLES_PER_PLANE = 200_000
_FARTHEST = 1e6  # ranges: the square of a more distant value exceeds the precision of float32
_FAR = 3.0  # ranges: no exposure shifts intensities further
_SCALES = 3.0  # no exposure makes the range this many times wider or narrower
_LARGEST = 1e30  # beyond, products of intensities are infinite in float32

_PLANES = 16  # of a stack that are looked at
_SIDE = 2048  # of a plane that is looked at whole
_BLOCK = 256
_BLOCKS = 5  # along each side of a larger plane
_PIXELS = 100_000

USUAL_PERCENTILES = (1.0, 99.0)
"""Percentiles between which the intensities of an image are."""


@dataclass(frozen=True, slots=True)
class IntensityRange:
    """The intensities that are mapped to 0 and 1, one pair per channel.

    Values outside the range stay outside [0, 1]: a defect that is brighter or darker than
    anything in training must not vanish.

    Attributes
    ----------
    low, high
        The pair of each channel.
    contrast
        How wide the intensities of the plane with the least contrast are, per channel; none: not
        known. It only serves `mismatch`.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    contrast: tuple[float, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def from_planes(
        cls, planes: Iterable[npt.NDArray[np.float32]], percentiles: tuple[float, float]
    ) -> IntensityRange:
        """Measure the range on the pixels of defect-free planes.

        Parameters
        ----------
        planes
            Arrays of shape (C, ...) that all have the same number of channels; at most 200,000
            pixels of each are sampled, at random but always the same ones.
        percentiles
            Lower and upper percentile, in [0, 100].

        Raises
        ------
        InputError
            If a channel is constant over all planes, or its intensities are too large or too close
            to each other to be computed with.
        """
        samples = []
        for plane in planes:
            flat = plane.reshape(len(plane), -1)
            if flat.shape[1] > _SAMPLES_PER_PLANE:  # at random: a grid could miss a weave's threads
                chosen = np.random.default_rng(0).integers(flat.shape[1], size=_SAMPLES_PER_PLANE)
                flat = flat[:, chosen]
            samples.append(flat)
        pixels = np.concatenate(samples, axis=1).astype(np.float64)
        if not pixels.size:
            raise InputError("No pixel of the training images is marked as free of defects.")
        low, high = np.percentile(pixels, percentiles, axis=1)
        darkest, brightest = pixels.min(axis=1), pixels.max(axis=1)
        # A few bright pixels on black: fall back to the full range. Percentiles of equal pixels
        # may differ by a rounding error, or by less than float32 resolves.
        span = high.astype(np.float32) - low.astype(np.float32)
        flat = span <= 1e-6 * (brightest - darkest)
        low, high = np.where(flat, darkest, low), np.where(flat, brightest, high)
        if (high <= low).any():
            raise InputError(
                "The training images are constant (every pixel has the same value); choose "
                "images that show the material."
            )
        usual = [np.percentile(part, USUAL_PERCENTILES, axis=1) for part in samples if part.size]
        contrast = np.min([np.ptp(limits, axis=0) for limits in usual], axis=0)
        return cls(*(tuple(map(float, values)) for values in (low, high, contrast)))

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            low, span = self._columns()
        # A span that is no normal number has few digits, or none.
        if (
            not (abs(low) <= _LARGEST).all()
            or not ((span >= np.finfo(np.float32).tiny) & (span <= _LARGEST)).all()
        ):
            raise InputError(
                f"The intensities of the training images are beyond {_LARGEST:g}, or too close to "
                "each other, to compute with; scale them."
            )

    def normalise(
        self, plane: npt.NDArray[np.float32], name: str = "image"
    ) -> npt.NDArray[np.float32]:
        """Map intensities of a plane (C, H, W) so that ``low`` becomes 0 and ``high`` 1.

        Parameters
        ----------
        plane
            Finite intensities.
        name
            What the error message calls it.

        Raises
        ------
        InputError
            If a pixel lies a million times the range away from it: no other would count beside it.
        """
        low, span = self._columns()
        with np.errstate(over="ignore"):
            normalised = np.asarray((plane - low) / span, dtype=np.float32)
        if normalised.size and max(normalised.max(), -normalised.min()) > _FARTHEST:
            raise InputError(
                f"Pixels of {name} ({plane.min():g} to {plane.max():g}) lie more than a million "
                f"times the range of the training images ({self.low[0]:g} to {self.high[0]:g}) "
                "away from it; save it in the same bit depth, or replace the codes for missing "
                "values."
            )
        return normalised

    def mismatch(
        self,
        pixels: npt.NDArray[np.float32],
        name: str,
        others: str,
        *,
        other_depth: bool = False,
    ) -> str | None:
        """Say in one sentence that intensities lie far outside the range, on another scale.

        That is so where an image was saved in another bit depth. A defect may well lie outside,
        and an image be darker or less contrasted than others: that is not said.

        Parameters
        ----------
        pixels
            Of the image, of shape (C, N).
        name, others
            What the sentence calls the image, and whose range this is.
        other_depth
            Whether the image is known to have another bit depth. Then its numbers either mean the
            same, and are alike, or they do not, even where they lie within the range.

        Returns
        -------
        str or None
            None if most intensities could be of such images.
        """
        low, span = (column[:, 0, 0] for column in self._columns())
        found = np.percentile(pixels.astype(np.float64), USUAL_PERCENTILES, axis=1)
        first, last = (found - low) / span
        extent, least = last - first, np.asarray(self.contrast or span) / span
        apart = (last < 0) | (first > 1)
        far = (last < -_FAR) | (first > _FAR)
        scaled = (extent < least / _SCALES) | (extent > _SCALES)
        narrow = extent < least / (_FAR * _SCALES)
        if not self.contrast:  # the images may differ in brightness more than each is wide
            narrow &= last < 0.1  # where black is zero on both scales
        negative = (np.asarray(self.low) >= 0) & (found[0] < -0.1 * np.ptp(found, axis=0))
        odd = far | (apart & scaled) | (extent > _FAR * _SCALES) | narrow | negative
        if other_depth:
            odd |= apart | scaled
        if not odd.all():
            return None
        ranges = (
            f"Intensities of {name} ({found[0].min():g} to {found[1].max():g})",
            f"{others} ({min(self.low):g} to {max(self.high):g})",
        )
        if ((first >= 0) & (last <= 1)).all():
            return (
                f"{ranges[0]} are a small part of {ranges[1]}; the image shows hardly anything, or "
                "was saved in another bit depth."
            )
        return f"{ranges[0]} lie far outside {ranges[1]}; save it in the same bit depth."

    def restore(self, plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Undo `normalise`."""
        low, span = self._columns()
        return np.asarray(plane * span + low, dtype=np.float32)

    def _columns(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        low = np.asarray(self.low, dtype=np.float32)[:, None, None]
        high = np.asarray(self.high, dtype=np.float32)[:, None, None]
        return low, high - low


def intensity_sample(
    planes: Planes, mask: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.float32]:
    """Return pixels from all over an image, of shape (C, N); some hundred thousand of a plane.

    Parameters
    ----------
    planes
        The image.
    mask
        The pixels that count, bool of shape (H, W) or (..., H, W); None: all.
    """
    counts = np.broadcast_to(True if mask is None else mask, planes.shape)
    counts = counts.reshape(len(planes), planes.height, planes.width)
    small = max(planes.height, planes.width) <= _SIDE
    rows, columns = (
        [slice(0, side)] if small else _blocks(side) for side in (planes.height, planes.width)
    )
    parts = []
    for index in np.linspace(0, len(planes) - 1, min(len(planes), _PLANES)).astype(int):
        for part in product(rows, columns):
            here = counts[index][part]
            if here.any():
                parts.append(_thinned(planes.read(int(index), *part)[:, here]))
    return np.concatenate([np.empty((planes.channels, 0), np.float32), *parts], axis=1)


def _thinned(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return pixels[:, :: 1 + pixels.shape[1] // _PIXELS]


def _blocks(side: int) -> list[slice]:
    starts = np.linspace(0, max(0, side - _BLOCK), _BLOCKS).astype(int)
    return [slice(int(start), int(start) + _BLOCK) for start in starts]


def odd_intensities(
    images: Sequence[Planes], masks: Sequence[npt.NDArray[np.bool_] | None] | None = None
) -> list[str]:
    """Say which images were saved on another scale than most of the others.

    Parameters
    ----------
    images
        The images.
    masks
        Per image, the pixels that count, as for `intensity_sample`; None: all.

    Raises
    ------
    InputError
        If there are any, and the images are of more than one bit depth.
    """
    if len(images) < 2:
        return []
    masks = [None] * len(images) if masks is None else masks
    pairs = [
        (planes, intensity_sample(planes, mask)) for planes, mask in zip(images, masks, strict=True)
    ]
    pairs = [(planes, pixels) for planes, pixels in pairs if pixels.size]
    if not pairs:
        return []
    limits = np.median([np.percentile(pixels, USUAL_PERCENTILES) for _, pixels in pairs], axis=0)
    if limits[0] >= limits[1]:
        return []
    mixed = len({bit_depth(planes.dtype) for planes, _ in pairs}) > 1
    found = (
        IntensityRange(
            (float(limits[0]),) * len(pixels), (float(limits[1]),) * len(pixels)
        ).mismatch(pixels, planes.name, "those of the other images", other_depth=mixed)
        for planes, pixels in pairs
    )
    notices = [notice for notice in found if notice is not None]
    if mixed and notices:
        raise InputError(notices[0])
    return notices

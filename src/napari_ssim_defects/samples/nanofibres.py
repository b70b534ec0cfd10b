"""Generated micrographs of electrospun nanofibres, with or without labelled defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..core.errors import InputError
from .fibre_defects import Defect, plant
from .fibre_mesh import LOWER_LAYERS, UPPER_LAYERS, random_fibres
from .fibre_rendering import Canvas, Drawable
from .noise import Field, generator, smooth_field, smooth_line

__all__ = ["NanofibreSample", "nanofibres"]

_FIBRES, _SENSOR, _DEFECTS = range(3)  # streams of randomness of a seed

_FULL_AREA = 700 * 1024  # pixels on which there are 3 to 6 defects
_SMALLEST = 64  # side of an image, in pixels
_BEAM = 0.6  # standard deviation of the electron beam, in pixels
_VISIBLE = 0.04  # change of the signal that the noise does not hide
_SPECK = 12  # pixels; smaller separate changes are taken back
_PINHOLE = 3  # pixels; radius of holes where the changed signal happens to equal the old one


@dataclass(frozen=True, slots=True)
class NanofibreSample:
    """A micrograph and the truth about it.

    Attributes
    ----------
    image
        uint8 array of shape (H, W).
    labels
        int32 array of shape (H, W): 0 = free of defects, 1 to n = the pixels that defect 1 to
        n changes visibly. A defect that fibres cross has several parts of one label.
    kinds
        Kind of defect 1 to n: ``"bead"``, ``"dust"``, ``"film"`` or ``"broken_fibre"``.
    """

    image: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int32]
    kinds: tuple[str, ...]


def nanofibres(
    seed: int, *, defects: bool | int = False, shape: tuple[int, int] = (700, 1024)
) -> NanofibreSample:
    """Generate a micrograph of electrospun nanofibres, like those of the paper's section 4.1.

    Images of all seeds are samples of one production process: the same density, diameters and
    brightness of fibres. With defects the image is the same as without, pixel by pixel and
    noise included, wherever ``labels`` is 0.

    Parameters
    ----------
    seed
        At least 0; the same seed gives the same sample.
    defects
        False: none. True: three to six on 700 x 1024 pixels, in proportion to the area and at
        least one. A number: exactly so many. Kinds take turns in random order; sizes are
        about 15 to 120 pixels, and at most about 0.4 of the shorter side.
    shape
        (H, W); at least 64 each.

    Returns
    -------
    NanofibreSample
        Image, labels and kinds.

    Raises
    ------
    InputError
        If the seed or the number of defects is negative, the shape is too small, or there is
        no room for that many defects.

    References
    ----------
    Carrera, Manganini, Boracchi, Lanzarone: Defect detection in SEM images of nanofibrous
    materials, IEEE Transactions on Industrial Informatics 13, 2017.

    Examples
    --------
    >>> from napari_ssim_defects.samples import nanofibres
    >>> good = nanofibres(0, shape=(128, 192))
    >>> bad = nanofibres(0, defects=2, shape=(128, 192))
    >>> int(bad.labels.max()), len(bad.kinds)
    (2, 2)
    >>> bool((good.image == bad.image)[bad.labels == 0].all())
    True
    """
    shape = _checked_shape(shape)
    if not isinstance(defects, int | np.integer) or defects < 0:
        raise InputError(
            f"The number of defects must be True, False or an integer of at least 0, "
            f"not {defects!r}."
        )
    rng = generator(seed, _FIBRES)
    canvas = Canvas(np.float32(0.015) * smooth_field(rng, shape, 60) + np.float32(0.07))
    for layer in LOWER_LAYERS:
        for fibre in random_fibres(rng, shape, layer):
            fibre.draw(canvas)
        canvas.signal[...] = ndimage.gaussian_filter(canvas.signal, layer.blur, truncate=3)
    upper = [fibre for layer in UPPER_LAYERS for fibre in random_fibres(rng, shape, layer)]
    signal = _finished(canvas, upper)
    labels = np.zeros(shape, np.int32)
    kinds: tuple[str, ...] = ()
    if defects:
        rng = generator(seed, _DEFECTS)
        random_count = rng.integers(3, 7) * shape[0] * shape[1] / _FULL_AREA
        count = max(1, round(random_count)) if isinstance(defects, bool) else int(defects)
        bodies, placed = plant(rng, upper, shape, count)
        changed = _finished(canvas, bodies)
        labels, kinds = _label(np.abs(changed - signal) > _VISIBLE, placed)
        if not isinstance(defects, bool) and len(kinds) < count:
            raise InputError(
                f"Only {len(kinds)} of {count} defects fit into {shape[0]} x {shape[1]} pixels; "
                "ask for fewer, or for a larger image."
            )
        signal = np.where(labels > 0, changed, signal)
    return NanofibreSample(_detect(signal, generator(seed, _SENSOR)), labels, kinds)


def _finished(canvas: Canvas, bodies: Sequence[Drawable]) -> Field:
    """Draw the upper bodies over a copy of the canvas, as the electron beam resolves them."""
    upper = Canvas(canvas.signal)
    for body in bodies:
        body.draw(upper)
    return np.asarray(ndimage.gaussian_filter(upper.signal, _BEAM, truncate=4), np.float32)


def _label(
    changed: npt.NDArray[np.bool], defects: Sequence[Defect]
) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Give the visibly changed pixels of each defect its label."""
    labels = np.zeros(changed.shape, np.int32)
    kinds: list[str] = []
    for defect in defects:
        low = [max(int(part - defect.reach), 0) for part in defect.centre]
        high = [int(part + defect.reach) + 2 for part in defect.centre]
        box = (slice(low[0], high[0]), slice(low[1], high[1]))
        rows, columns = np.ogrid[box]
        rows, columns = rows[: len(labels[box])], columns[:, : labels[box].shape[1]]
        disc = np.hypot(rows - defect.centre[0], columns - defect.centre[1]) <= defect.reach
        mask = _closed(changed[box] & disc) & disc
        parts, _ = ndimage.label(mask, np.ones((3, 3)))
        mask &= (np.bincount(parts.ravel()) >= _SPECK)[parts]
        if mask.any():
            kinds.append(defect.kind)
            labels[box][mask] = len(kinds)
    return labels, tuple(kinds)


def _closed(mask: npt.NDArray[np.bool]) -> npt.NDArray[np.bool]:
    """Close pinholes and cracks that are up to about 2 x _PINHOLE wide."""
    padded = np.pad(mask, _PINHOLE + 1, mode="edge")
    near = ndimage.distance_transform_edt(~padded) <= _PINHOLE if mask.any() else padded
    closed = ndimage.distance_transform_edt(near) > _PINHOLE
    inner = slice(_PINHOLE + 1, -_PINHOLE - 1)
    return np.asarray(closed[inner, inner] | mask, dtype=np.bool)


def _detect(signal: Field, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Turn a signal into grey values as a detector does, with charging and noise."""
    height, width = signal.shape
    gradient = 1 + 0.05 * smooth_field(rng, (height, width), 450)
    # Few lines are charged much, and only part of their length: the cube makes heavy tails.
    lines = 0.003 * rng.standard_normal((height, 1), dtype=np.float32) ** 3
    charged = lines * np.clip(0.6 + 0.6 * smooth_line(rng, width, 200), 0, 1.5)
    noise = rng.standard_normal((height, width), dtype=np.float32)
    noise *= np.sqrt(0.0001 + 0.0004 * np.maximum(signal, 0))  # detector and shot noise
    grey = (signal * gradient + charged + noise) * 235 + 6
    return np.asarray(np.clip(np.rint(grey), 0, 255), dtype=np.uint8)


def _checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    sides = tuple(shape)
    if len(sides) != 2 or any(int(side) != side or side < _SMALLEST for side in sides):
        raise InputError(
            f"The shape of a nanofibre image must be two integers (height, width) of at least "
            f"{_SMALLEST}, not {sides}."
        )
    return int(sides[0]), int(sides[1])

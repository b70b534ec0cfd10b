"""Generated micrographs of electrospun nanofibres, with or without labelled defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..core.common.errors import InputError
from .fibre_defects import Defect, plant
from .fibre_rendering import Canvas, Drawable, random_fibres
from .noise import Field, generator

__all__ = ["DEFECTIVE_SEEDS", "GOOD_SEEDS", "NanofibreSample", "nanofibres"]

GOOD_SEEDS = tuple(range(1, 13))
"""Seeds of the good images of the sample data: enough to show how images differ."""

DEFECTIVE_SEEDS = (101, 102, 103)
"""Seeds of its defective images."""

_FIBRES, _SENSOR, _DEFECTS = range(3)  # streams of randomness of a seed

_FULL_AREA = 700 * 1024  # pixels on which there are 3 to 18 defects
_SMALLEST = 64  # side of an image, in pixels
_BEAM = 0.4  # standard deviation of the electron beam, in pixels
_NOISE = 0.05  # four times the deviation of the noise at medium grey, as a part of white
_DEPTH = 0.85  # part of the fibres that lie below all defects
_TRIES = 4  # to place defects where fibres do not hide them
_VISIBLE = 0.04  # change of the picture that the noise does not hide
_SPECK = 40  # pixels; smaller separate changes are taken back
_PINHOLE = 4  # pixels; radius of holes where the changed signal happens to equal the old one


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
        Kind of defect 1 to n: ``"bead"``, ``"dust"``, ``"clump"``, ``"film"`` or
        ``"broken_fibre"``.
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
        False: none. True: about three to eighteen on 700 x 1024 pixels, rather few than many,
        in proportion to the area and at least one. A number: exactly so many. Kinds take turns
        in random order, of fifteen four are dust, clumps and films each. Most are 15 to 60
        pixels long, few 200, none much more than 0.6 of the shorter side.
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
    fibres = random_fibres(generator(seed, _FIBRES), shape)
    depth = int(_DEPTH * len(fibres))
    lower = _drawn(np.zeros(shape, np.float32), fibres[:depth])
    upper = fibres[depth:]
    picture = _drawn(lower, upper)
    labels = np.zeros(shape, np.int32)
    kinds: tuple[str, ...] = ()
    if defects:
        rng = generator(seed, _DEFECTS)
        random_count = 3 * 6 ** rng.random() * shape[0] * shape[1] / _FULL_AREA
        count = max(1, round(random_count)) if isinstance(defects, bool) else int(defects)
        wanted = 1 if isinstance(defects, bool) else count
        for _ in range(_TRIES):
            bodies, placed = plant(rng, upper, shape, count)
            changed = _drawn(lower, bodies)
            labels, kinds = _label(np.abs(changed - picture) > _VISIBLE, placed)
            if len(kinds) >= wanted:
                break
        else:
            raise InputError(
                f"Only {len(kinds)} of {count} defects fit into {shape[0]} x {shape[1]} pixels; "
                "ask for fewer, or for a larger image."
            )
        picture = np.where(labels > 0, changed, picture)
    return NanofibreSample(_detect(picture, generator(seed, _SENSOR)), labels, kinds)


def _drawn(below: Field, bodies: Sequence[Drawable]) -> Field:
    """Draw bodies over a copy of a picture, as sharp as the electron beam resolves them."""
    canvas = Canvas(below)
    for body in bodies:
        body.draw(canvas)
    return np.asarray(ndimage.gaussian_filter(canvas.picture, _BEAM, truncate=3), np.float32)


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


def _detect(picture: Field, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Turn a picture into grey values as a detector does, with noise."""
    # Black and white are hardly noisy: there are few electrons, or the detector is saturated.
    deviation = np.float32(0.004) + np.float32(_NOISE) * picture * (1 - picture)
    noise = rng.standard_normal(picture.shape, dtype=np.float32) * deviation
    return np.asarray(np.clip(np.rint((picture + noise) * 251 + 3), 0, 255), dtype=np.uint8)


def _checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    sides = tuple(shape)
    if len(sides) != 2 or any(int(side) != side or side < _SMALLEST for side in sides):
        raise InputError(
            f"The shape of a nanofibre image must be two integers (height, width) of at least "
            f"{_SMALLEST}, not {sides}."
        )
    return int(sides[0]), int(sides[1])

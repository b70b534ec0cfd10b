"""The paper's figure 2: four grey strokes on a checkerboard, and an imperfect reconstruction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core.common.errors import InputError
from .noise import Field, generator, smooth_field

__all__ = ["CheckerboardSample", "checkerboard"]

_PATTERN, _RECONSTRUCTION, _STROKES = range(3)  # streams of randomness of a seed

_DARK, _LIGHT, _GREY = 0.3, 0.7, 0.5
_OPACITY = 0.55  # of a stroke; little contrast to the squares that it crosses
_THICKNESS = 5.0  # of a stroke, in pixels
_WOBBLE = 0.4  # standard deviation of the position of reconstructed edges, in pixels
_SHADE = 0.06  # standard deviation of the grey values of reconstructed squares


@dataclass(frozen=True, slots=True)
class CheckerboardSample:
    """An input, what an autoencoder would make of it, and the truth.

    Attributes
    ----------
    image
        float32 array of shape (H, W), in [0, 1].
    reconstruction
        Same shape, type and range: no strokes; edges slightly misplaced and blurred, and
        squares slightly too dark or too bright.
    labels
        int32 array of shape (H, W): 0 = pattern, 1 to 4 = pixels of stroke 1 to 4.
    """

    image: Field
    reconstruction: Field
    labels: npt.NDArray[np.int32]


def checkerboard(
    seed: int = 0,
    *,
    shape: tuple[int, int] = (256, 256),
    square: int = 32,
    defects: bool = True,
) -> CheckerboardSample:
    """Generate the input and the reconstruction of the paper's figure 2.

    The squared error of the misplaced edges is as large as that of the strokes, so it cannot
    tell them apart; structural similarity can.

    Parameters
    ----------
    seed
        At least 0; moves pattern, strokes and inaccuracies.
    shape
        (H, W); at least two squares each.
    square
        Side of the squares, in pixels; at least 8.
    defects
        Whether there are strokes. Pattern and reconstruction are the same without them.

    Returns
    -------
    CheckerboardSample
        Image, reconstruction and labels.

    Raises
    ------
    InputError
        If the seed is negative, or squares or shape are too small.

    References
    ----------
    The paper's section 3.3 and figure 2.

    Examples
    --------
    >>> from napari_ssim_defects.samples import checkerboard
    >>> sample = checkerboard()
    >>> sample.image.shape, int(sample.labels.max())
    ((256, 256), 4)
    """
    if square < 8:
        raise InputError(f"The squares must be at least 8 pixels wide, not {square}.")
    if len(shape) != 2 or min(shape) < 2 * square:
        raise InputError(
            f"The shape of a checkerboard must be (height, width) of at least two squares of "
            f"{square} pixels each, not {tuple(shape)}."
        )
    height, width = (int(side) for side in shape)
    phase = generator(seed, _PATTERN).uniform(0, square, 2)
    rows, columns = np.mgrid[:height, :width] + phase[:, None, None]
    image = _board(rows, columns, square, softness=2.0)

    rng = generator(seed, _RECONSTRUCTION)
    shift = [_WOBBLE * smooth_field(rng, (height, width), 0.7 * square) for _ in range(2)]
    reconstruction = _board(rows + shift[0], columns + shift[1], square, softness=2.5)
    reconstruction += _SHADE * smooth_field(rng, (height, width), 3 * square)

    labels = np.zeros((height, width), np.int32)
    if defects:
        opacity, labels = _strokes(generator(seed, _STROKES), (height, width))
        image = image + _OPACITY * opacity * (_GREY - image)
    return CheckerboardSample(
        image.astype(np.float32), np.clip(reconstruction, 0, 1).astype(np.float32), labels
    )


def _board(
    rows: npt.NDArray[np.float64],
    columns: npt.NDArray[np.float64],
    square: int,
    softness: float,
) -> npt.NDArray[np.float64]:
    """Sample the pattern at real positions; its edges are ``softness`` pixels wide."""
    sides = []
    for position in (rows, columns):
        # Triangular wave: signed distance to the nearest edge of the squares.
        distance = np.abs((position - square / 2) % (2 * square) - square) - square / 2
        sides.append(np.clip(2 * distance / softness, -1, 1))
    return np.asarray((_DARK + _LIGHT) / 2 + (_LIGHT - _DARK) / 2 * sides[0] * sides[1])


def _strokes(
    rng: np.random.Generator, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Draw one stroke in each quarter of the image."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    opacity = np.zeros(shape)
    labels = np.zeros(shape, np.int32)
    length = 0.28 * min(shape)
    for label, (vertical, horizontal) in enumerate(((1, 1), (1, 3), (3, 1), (3, 3)), start=1):
        row = height * (vertical / 4 + rng.uniform(-0.03, 0.03))
        column = width * (horizontal / 4 + rng.uniform(-0.03, 0.03))
        angle = rng.uniform(0, np.pi)
        along = (rows - row) * np.sin(angle) + (columns - column) * np.cos(angle)
        across = (columns - column) * np.sin(angle) - (rows - row) * np.cos(angle)
        beyond = np.maximum(np.abs(along) - (length - _THICKNESS) / 2, 0)
        stroke = np.clip(_THICKNESS / 2 + 0.5 - np.hypot(across, beyond), 0, 1)
        opacity = np.maximum(opacity, stroke)
        labels[stroke > 0] = label
    return opacity, labels

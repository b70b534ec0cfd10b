"""Smooth random fields, the raw material of every generated sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..core.common.errors import InputError

__all__ = ["Field", "generator", "single", "smooth_field", "smooth_line"]

Field = npt.NDArray[np.float32]

_SPLINE_DEVIATION = 0.69  # of a cubic B-spline, along one axis, whose nodes have deviation 1


def generator(seed: int, *stream: int) -> np.random.Generator:
    """Return the generator of one independent stream of a seed.

    Separate streams (fibres, sensor, defects, ...) keep a sample the same outside its defects
    when defects are added.

    Raises
    ------
    InputError
        If the seed is not an integer of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"The seed must be an integer of at least 0, not {seed!r}.")
    return np.random.default_rng([int(seed), *stream])


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int], spacing: float, octaves: int = 1
) -> Field:
    """Return a smooth random field of mean 0 and standard deviation of about 1.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        (H, W) of the field.
    spacing
        Distance of the independent values between which it is interpolated, in pixels.
    octaves
        Number of fields that are added, each half as coarse and half as strong as the last.

    Returns
    -------
    numpy.ndarray
        float32 array of shape (H, W).
    """
    total = np.zeros(shape, np.float32)
    power = 0.0
    for octave in range(octaves):
        step = max(spacing / 2**octave, 1.0)
        # Grids are anchored at a random phase, or all fields would peak at the same corner.
        phase = rng.random(2)
        grid = rng.standard_normal([int(size / step) + 6 for size in shape], dtype=np.float32)
        rows, columns = (
            _spline_weights(size, step, offset, nodes)
            for size, offset, nodes in zip(shape, phase, grid.shape, strict=True)
        )
        total += 0.5**octave * (rows @ grid @ columns.T)
        power += 0.25**octave
    return total / np.float32(_SPLINE_DEVIATION**2 * np.sqrt(power))


def smooth_line(rng: np.random.Generator, length: int, spacing: float) -> Field:
    """Return a smooth random function of mean 0 and standard deviation 1, shape (length,)."""
    step = max(spacing, 1.0)
    nodes = rng.standard_normal(int(length / step) + 6)
    position = np.arange(length) / step + rng.random() + 1
    first = position.astype(np.intp)
    t = position - first
    square, cube = t * t, t * t * t
    far = 1 - 3 * t + 3 * square - cube
    weights = [far, 4 - 6 * square + 3 * cube, 1 + 3 * (t + square - cube), cube]
    near = [nodes[first + place] for place in range(4)]
    values = np.einsum("ij,ij->j", weights, near) / 6
    return single(values / _SPLINE_DEVIATION)


def single(values: npt.NDArray[np.floating]) -> Field:
    """Return values as float32."""
    return values.astype(np.float32)


def _spline_weights(size: int, step: float, phase: float, nodes: int) -> Field:
    """Cubic B-spline weights of every node for every pixel, shape (size, nodes)."""
    position = (np.arange(size) / step + phase + 2).astype(np.float32)
    distance = np.abs(position[:, None] - np.arange(nodes, dtype=np.float32))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return single(np.where(distance < 1, near, far))

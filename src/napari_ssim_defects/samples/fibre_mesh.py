"""Random meshes of long, almost straight fibres, one above the other."""

from __future__ import annotations

import numpy as np

from .fibre_rendering import Fibre
from .noise import single, smooth_line

__all__ = ["random_fibres"]

# Fitted to real micrographs, see benchmarks/FIBRES.md.
_RADIUS = 3.9  # median, in pixels
_RADIUS_SPREAD = 0.15  # standard deviation of the logarithm
_RADIUS_LIMITS = (2.8, 8.0)
_COVER = 2.35  # total area of the fibres in units of the image area, as if none overlapped
_BRIGHTNESS = 3.2  # signal of the uppermost fibres
_DECAY = 5.0  # natural logarithm by which the signal of the lowest fibres is weaker
_SINKING = 0.42  # standard deviation of the logarithm of the signal along one fibre
_BEND = 0.02  # mean of half the bend of a fibre, in units of its wavelength
_WOBBLE = 0.7  # mean deviation of the centre line at short distances, in pixels
_ROUGHNESS = 0.11  # part of the radius by which it varies along the fibre
_MARGIN = 30.0  # pixels outside the image from which a curved fibre may bend into it


def random_fibres(rng: np.random.Generator, shape: tuple[int, int]) -> list[Fibre]:
    """Draw the fibres of an image, the lowest first.

    Fibres are a homogeneous, isotropic line process, so that images of every shape show the
    same density of fibres.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        (H, W) of the image.

    Returns
    -------
    list of Fibre
        At least one.
    """
    height, width = shape
    # Lines that hit a convex region: length per area x perimeter / pi (Crofton).
    perimeter = 2 * (height + width) + 2 * np.pi * _MARGIN
    count = max(1, round(_COVER / (2 * _RADIUS) * perimeter / np.pi))
    # Of all lines that hit it, as many have a direction as it is wide across that direction.
    angles = np.linspace(0, np.pi, 721)
    widths = width * np.sin(angles) + height * np.abs(np.cos(angles)) + 2 * _MARGIN
    share = np.cumsum(widths) - widths[0]
    chosen = np.interp(rng.random(count), share / share[-1], angles)
    # Fewer electrons get out of the depths of the mesh.
    brightness = _BRIGHTNESS * np.exp(-_DECAY * np.linspace(1, 0, count))
    return [
        _random_fibre(rng, shape, float(angle), float(signal))
        for angle, signal in zip(chosen, brightness, strict=True)
    ]


def _random_fibre(
    rng: np.random.Generator, shape: tuple[int, int], angle: float, brightness: float
) -> Fibre:
    """Draw a fibre whose chord makes an angle with the +column direction."""
    height, width = shape
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    shift = rng.uniform(-1, 1) * ((width * sine + height * abs(cosine)) / 2 + _MARGIN)
    upright = sine > abs(cosine)
    length, breadth = (height, width) if upright else (width, height)
    along = np.arange(length) - (length - 1) / 2
    chord = (along * cosine - shift) / sine if upright else (along * sine + shift) / cosine
    spacing = rng.uniform(150, 420)
    bend = rng.gamma(2.0, _BEND) * spacing * smooth_line(rng, length, spacing)
    wobble = rng.uniform(0.2, 2 * _WOBBLE) * smooth_line(rng, length, 25)
    radius = np.clip(_RADIUS * np.exp(_RADIUS_SPREAD * rng.standard_normal()), *_RADIUS_LIMITS)
    uneven = 1 + _ROUGHNESS * smooth_line(rng, length, 9)
    # A fibre rises and sinks in the mesh.
    level = np.exp(_SINKING * smooth_line(rng, length, 130))
    return Fibre(
        upright=upright,
        centre=single(chord + (breadth - 1) / 2 + bend + wobble),
        radius=single(radius * uneven),
        brightness=single(brightness * level),
    )

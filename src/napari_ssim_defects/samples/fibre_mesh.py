"""Random meshes of long, gently curved fibres in several layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fibre_rendering import Fibre
from .noise import single, smooth_line

__all__ = ["LOWER_LAYERS", "UPPER_LAYERS", "Layer", "random_fibres"]

_RADIUS = 6.2  # median, in pixels
_RADIUS_SPREAD = 0.24  # standard deviation of the logarithm
_RADIUS_LIMITS = (4.0, 9.5)
_MEAN_DIAMETER = 12.8
_MARGIN = 30.0  # pixels outside the image from which a curved fibre may bend into it


@dataclass(frozen=True, slots=True)
class Layer:
    """Fibres at one depth.

    Attributes
    ----------
    cover
        Total area of the fibres in units of the image area, as if none overlapped.
    brightness
        Mean signal of the fibres.
    softness
        Width of their outlines, in pixels.
    blur
        Standard deviation of the defocus of this and all deeper layers, in pixels.
    """

    cover: float
    brightness: float
    softness: float
    blur: float


LOWER_LAYERS = (
    Layer(cover=0.45, brightness=0.26, softness=3.0, blur=2.4),
    Layer(cover=0.40, brightness=0.42, softness=2.2, blur=1.4),
    Layer(cover=0.35, brightness=0.62, softness=1.6, blur=0.7),
)
"""Layers that are out of focus, deepest first; no defect changes them."""

UPPER_LAYERS = (
    Layer(cover=0.28, brightness=0.80, softness=1.2, blur=0.0),
    Layer(cover=0.18, brightness=0.95, softness=1.1, blur=0.0),
)
"""Layers in focus."""


def random_fibres(rng: np.random.Generator, shape: tuple[int, int], layer: Layer) -> list[Fibre]:
    """Draw the fibres of one layer in random order.

    Fibres are a homogeneous, isotropic line process, so that images of every shape show the
    same density of fibres.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        (H, W) of the image.
    layer
        How many fibres, and what they look like.

    Returns
    -------
    list of Fibre
        At least one.
    """
    height, width = shape
    # Lines that hit a convex region: length per area x perimeter / pi (Crofton).
    perimeter = 2 * (height + width) + 2 * np.pi * _MARGIN
    count = max(1, round(layer.cover / _MEAN_DIAMETER * perimeter / np.pi))
    # Of all lines that hit it, as many have a direction as it is wide across that direction.
    angles = np.linspace(0, np.pi, 721)
    widths = width * np.sin(angles) + height * np.abs(np.cos(angles)) + 2 * _MARGIN
    share = np.cumsum(widths) - widths[0]
    # One direction from each of equal shares: no image is by chance combed in one direction.
    chosen = np.interp((np.arange(count) + rng.random(count)) / count, share / share[-1], angles)
    fibres = [_random_fibre(rng, shape, layer, float(angle)) for angle in chosen]
    return [fibres[index] for index in rng.permutation(count)]


def _random_fibre(
    rng: np.random.Generator, shape: tuple[int, int], layer: Layer, angle: float
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
    bend = rng.gamma(2.0, 0.06) * spacing * smooth_line(rng, length, spacing)
    wobble = rng.uniform(0.3, 1.5) * smooth_line(rng, length, 60)
    radius = np.clip(_RADIUS * np.exp(_RADIUS_SPREAD * rng.standard_normal()), *_RADIUS_LIMITS)
    # A fibre rises and sinks within its layer, and its surface is not perfectly even.
    level = 0.09 * smooth_line(rng, length, 130) + 0.02 * smooth_line(rng, length, 5)
    level += np.float32(1 + 0.09 * rng.standard_normal())
    return Fibre(
        upright=upright,
        centre=single(chord + (breadth - 1) / 2 + bend + wobble),
        radius=np.full(length, radius, np.float32),
        brightness=single(layer.brightness * level),
        softness=layer.softness,
    )

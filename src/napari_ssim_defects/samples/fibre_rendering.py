"""Meshes of fibres, drawn as a scanning electron microscope shows them, back to front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .noise import Field, single, smooth_line

__all__ = [
    "LIGHT",
    "SHADOW_REACH",
    "Canvas",
    "Drawable",
    "Fibre",
    "Strand",
    "random_fibres",
]

Indices = npt.NDArray[np.intp]

LIGHT = (0.86, 0.51)
"""Unit vector (row, column) towards the detector: lower right."""

SHADOW_REACH = 4.0
"""Pixels from the edge of a body over which its shadow fades."""

_SHADOW_DEPTH = 0.22  # part of the signal that is lost right at the edge of a body
_RIM = 0.07  # how much brighter the edges of a body are
_LIT = 0.18  # how much brighter is what faces the detector
_STEEP = 0.3  # growth of the radius per pixel from which on it is more than uneven
_THICK = 5.4  # radius in pixels above which the bright rim stops growing with the body

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


class Canvas:
    """A picture (0 black, 1 white) on which bodies are drawn.

    Parameters
    ----------
    picture
        float32 array of shape (H, W) to start from; it is copied.
    """

    def __init__(self, picture: Field) -> None:
        # A gutter of one pixel swallows what is drawn outside: cheaper than selecting.
        self._buffer = np.pad(picture, 1, mode="edge")

    @property
    def picture(self) -> Field:
        """The picture drawn so far, float32 of shape (H, W); a view."""
        return self._buffer[1:-1, 1:-1]

    def over(
        self,
        rows: Indices,
        columns: Indices,
        distance: Field,
        signal: Field,
        *,
        shadow: float | Field = 1.0,
    ) -> None:
        """Draw a body over the picture, and its soft shadow around it.

        Parameters
        ----------
        rows, columns
            Pixels to touch, broadcast; those outside are ignored, those inside must be distinct.
        distance
            Signed distance of each to the outline of the body, in pixels; positive inside.
        signal
            Electrons that the body sends from each; the detector saturates at about 2.
        shadow
            Strength of the shadow, in [0, 1].
        """
        height, width = self._buffer.shape
        index = np.clip(rows + 1, 0, height - 1) * width + np.clip(columns + 1, 0, width - 1)
        flat = self._buffer.reshape(-1)
        below = flat[index]
        fade = np.clip(1 + distance / np.float32(SHADOW_REACH), 0, 1)
        below *= 1 - np.float32(_SHADOW_DEPTH) * shadow * fade * fade
        opacity = np.clip(distance + np.float32(0.5), 0, 1)
        below += opacity * (np.tanh(signal) - below)
        flat[index] = below


class Drawable(Protocol):
    """Anything that lies on the canvas as one body."""

    def draw(self, canvas: Canvas) -> None:
        """Draw the body over what is already on the canvas."""


@dataclass(frozen=True, slots=True, eq=False)
class Fibre:
    """A fibre that crosses the image, as a function graph over one axis of the image.

    Attributes
    ----------
    upright
        Whether the graph runs along the rows (centre = column) or the columns (centre = row).
    centre
        Position of the centre line across that axis at every pixel along it, float32.
    radius, brightness
        In pixels, and as a signal, at every pixel along the axis, float32.
    gap
        First and last position along the axis between which the fibre is missing; None if it
        is whole.
    """

    upright: bool
    centre: Field
    radius: Field
    brightness: Field
    gap: tuple[float, float] | None = None

    def draw(self, canvas: Canvas) -> None:
        """Draw the fibre; this takes time in proportion to its area, not the image's."""
        slopes = np.gradient(self.centre)
        cosines = 1 / np.sqrt(1 + slopes * slopes)
        breadth = canvas.picture.shape[1 if self.upright else 0]
        reach = float(self.radius.max()) + SHADOW_REACH
        outside = reach / float(cosines.min())
        index = np.arange(len(self.centre))
        along = np.flatnonzero((self.centre > -outside) & (self.centre < breadth + outside))
        if not len(along):
            return
        centre, slope, cosine = (a[along, None] for a in (self.centre, slopes, cosines))
        half = int(reach / float(cosine.min())) + 1
        lateral = np.floor(centre).astype(np.intp) + np.arange(-half, half + 1)
        offset = lateral.astype(np.float32) - centre
        signed = offset * cosine
        light, axial = self._light(slope, cosine)
        if self.gap is None and np.abs(np.diff(self.radius)).max() < _STEEP:
            radius = self.radius[along, None]
            across = signed / radius
            shade = cylinder(across, light * across)
            distance = radius - np.abs(signed)
        else:
            # The nearest point of the centre line is not the one on the same line of pixels.
            foot = along[:, None] + offset * slope * cosine * cosine
            growths = np.gradient(self.radius) * cosines
            radius, growth = (single(np.interp(foot, index, a)) for a in (self.radius, growths))
            across = signed / radius
            tilt = light * across - 2 * axial * growth * _dome(across)
            shade = cylinder(across, tilt, _rim(radius))
            distance = (radius - np.abs(signed)) / np.sqrt(1 + growth * growth)
            if self.gap is not None:
                intact = np.maximum(self.gap[0] - foot, foot - self.gap[1]) / cosine
                cap = radius - np.hypot(signed, np.maximum(radius - intact, 0))
                distance = single(np.where(intact < radius, cap, distance))
        position = along[:, None]
        rows, columns = (position, lateral) if self.upright else (lateral, position)
        canvas.over(rows, columns, distance, self.brightness[along, None] * shade)

    def arc(self) -> Field:
        """Arc length from the first pixel to every pixel along the axis, in pixels."""
        slope = np.gradient(self.centre)
        return np.cumsum(np.sqrt(1 + slope * slope), dtype=np.float32)

    def point(self, position: float) -> tuple[float, float]:
        """Return (row, column) of the centre line at a position along the axis."""
        centre = float(np.interp(position, np.arange(len(self.centre)), self.centre))
        return (position, centre) if self.upright else (centre, position)

    def heading(self, position: float) -> float:
        """Return the direction of the centre line, as an angle from +row towards +column."""
        first, last = self.point(position - 2), self.point(position + 2)
        return float(np.arctan2(last[1] - first[1], last[0] - first[0]))

    def _light(self, slope: Field, cosine: Field) -> tuple[Field, Field]:
        """Cosine between the detector and the normal, and the tangent, of the centre line."""
        along, across = LIGHT if self.upright else LIGHT[::-1]
        normal = (across - slope * along) * cosine
        tangent = (along + slope * across) * cosine
        return normal, tangent


@dataclass(frozen=True, slots=True, eq=False)
class Strand:
    """A short piece of fibre of any shape, attached at its first point, free at its last.

    Attributes
    ----------
    points
        (row, column) along the centre line, float32 of shape (N, 2), about a pixel apart.
    radius
        At each of the points, in pixels, float32 of shape (N,).
    brightness
        Signal of the strand.
    """

    points: Field
    radius: Field
    brightness: float

    def draw(self, canvas: Canvas) -> None:
        """Draw the strand inside its bounding box."""
        rows, columns = pixels_around(
            self.points, float(self.radius.max()) + SHADOW_REACH + 1, canvas.picture.shape
        )
        if not len(rows):
            return
        pixels = np.stack([rows, columns], axis=1)
        _, nearest = cKDTree(self.points).query(pixels)
        away = (pixels - self.points[nearest]).astype(np.float32)
        length = np.linalg.norm(away, axis=1)
        radius = self.radius[nearest]
        shade = cylinder(length / radius, away @ np.array(LIGHT, np.float32) / radius)
        canvas.over(
            rows,
            columns,
            radius - length,
            np.float32(self.brightness) * shade,
            # Where it is attached it continues a fibre, on which it casts no shadow.
            shadow=(nearest > 0).astype(np.float32),
        )


def cylinder(across: Field, light: Field, rim: Field | None = None) -> Field:
    """Secondary electron signal of a cylinder whose flat top has the signal 1.

    Electrons escape more easily where the surface is tilted against the beam, so edges are
    brighter than the centre; and more of those that leave towards the detector are caught.

    Parameters
    ----------
    across
        Distance to the centre line in units of the radius.
    light
        How far the surface is tilted towards the detector, about -1 to 1.
    rim
        Exponent of the bright rim; None = 4.

    References
    ----------
    Goldstein et al.: Scanning Electron Microscopy and X-Ray Microanalysis, 4th edition 2018,
    chapter 3.
    """
    square = np.minimum(across * across, np.float32(1.3))
    edge = square * square if rim is None else square ** (rim / 2)
    shade = np.float32(1) + np.float32(_RIM) * edge + np.float32(_LIT) * light
    return np.asarray(shade, dtype=np.float32)


def pixels_around(points: Field, reach: float, shape: tuple[int, ...]) -> tuple[Indices, Indices]:
    """Return rows and columns of the image's pixels in the box around some points."""
    low = np.maximum(np.floor(points.min(axis=0) - reach), 0).astype(int)
    high = np.minimum(np.ceil(points.max(axis=0) + reach) + 1, shape).astype(int)
    if (high <= low).any():
        return np.empty(0, np.intp), np.empty(0, np.intp)
    rows, columns = np.mgrid[low[0] : high[0], low[1] : high[1]]
    return rows.ravel(), columns.ravel()


def _dome(across: Field) -> Field:
    return np.asarray(np.sqrt(np.maximum(1 - across * across, 0)), dtype=np.float32)


def _rim(radius: Field) -> Field:
    """Exponent that keeps the rim of thick bodies as wide in pixels as that of fibres."""
    return np.asarray(4 + np.maximum(radius - _THICK, 0) * np.float32(0.3), dtype=np.float32)


def random_fibres(rng: np.random.Generator, shape: tuple[int, int]) -> list[Fibre]:
    """Draw the fibres of an image, the lowest first.

    Fibres are a homogeneous, isotropic line process, so that images of every shape show the
    same density of fibres.

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

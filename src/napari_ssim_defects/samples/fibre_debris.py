"""What is found on and between fibres but is none: particles of dust, and films of melt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .fibre_rendering import LIGHT, SHADOW_REACH, Canvas
from .noise import Field, single, smooth_field

__all__ = ["Dust", "Film"]

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Dust:
    """An irregular, rough, bright particle on top of the fibres.

    Attributes
    ----------
    centre
        (row, column).
    facets
        (angle, distance) of each plane that cuts the particle out, shape (N, 2).
    roughness
        Noise over the box of the particle, float32 of shape (S, S).
    brightness
        Signal of a flat surface.
    """

    centre: tuple[float, float]
    facets: Field
    roughness: Field
    brightness: float

    @classmethod
    def random(cls, rng: np.random.Generator, centre: tuple[float, float], diameter: float) -> Dust:
        """Draw a particle of about the given diameter, in pixels."""
        radius, count = diameter / 2, int(rng.integers(5, 10))
        angles = (np.arange(count) + rng.uniform(-0.35, 0.35, count)) / count * 2 * np.pi
        elongation = 1 + 0.3 * rng.random() * np.cos(2 * (angles - rng.uniform(0, np.pi)))
        distances = radius * elongation * rng.uniform(0.75, 1.1, count)
        size = int(2 * (1.6 * radius + SHADOW_REACH + 3))
        roughness = smooth_field(rng, (size, size), max(3.0, radius / 2.5), octaves=4)
        facets = np.stack([angles, distances], axis=1).astype(np.float32)
        return cls(centre, facets, roughness, float(rng.uniform(0.85, 1.15)))

    @property
    def reach(self) -> float:
        """Distance from the centre beyond which nothing is drawn, in pixels."""
        return len(self.roughness) / 2 - 1

    def draw(self, canvas: Canvas) -> None:
        """Draw the particle, lit from the detector's side."""
        rows, columns, row, column = _box(self.centre, len(self.roughness))
        planes = [
            distance - row * np.cos(angle) - column * np.sin(angle)
            for angle, distance in self.facets
        ]
        radius = float(self.facets[:, 1].mean())
        distance = np.min(planes, axis=0) + (0.07 * radius + 0.5) * self.roughness
        # Facets rise steeply from the outline, then flatten out; the grain lies on top.
        height = 0.5 * radius * np.tanh(np.maximum(distance, 0) / (0.35 * radius))
        height += (0.03 * radius + 0.5) * ndimage.gaussian_filter(self.roughness, 0.7)
        tilt = np.gradient(height)
        lit = -(tilt[0] * LIGHT[0] + tilt[1] * LIGHT[1])
        steep = np.minimum(tilt[0] ** 2 + tilt[1] ** 2, 1.5)
        value = self.brightness * (0.76 + 0.20 * np.tanh(1.5 * lit) + 0.16 * steep)
        distance = np.minimum(distance, self.reach - SHADOW_REACH - np.hypot(row, column))
        canvas.over(rows, columns, single(distance), single(value), softness=1.3)


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A smooth area in which the fibres have fused.

    Attributes
    ----------
    centre
        (row, column).
    level
        Field over the box of the film, positive inside, float32 of shape (S, S).
    brightness
        Signal of a flat surface.
    """

    centre: tuple[float, float]
    level: Field
    brightness: float

    @classmethod
    def random(cls, rng: np.random.Generator, centre: tuple[float, float], diameter: float) -> Film:
        """Draw a film of about the given diameter, in pixels."""
        radius = diameter / 2
        size = int(2 * (1.5 * radius + SHADOW_REACH + 3))
        _, _, row, column = _box((0, 0), size)
        angle, elongation = rng.uniform(0, np.pi), rng.uniform(1, 1.5)
        long = row * np.cos(angle) + column * np.sin(angle)
        short = elongation * (column * np.cos(angle) - row * np.sin(angle))
        level = 1 - np.hypot(long, short) / radius
        level = level + 0.2 * smooth_field(rng, (size, size), radius / 1.6, octaves=2)
        return cls(centre, single(level), float(rng.uniform(0.80, 0.98)))

    @property
    def reach(self) -> float:
        """Distance from the centre beyond which nothing is drawn, in pixels."""
        return len(self.level) / 2 - 1

    def draw(self, canvas: Canvas) -> None:
        """Draw the film over the fibres, which shine through faintly."""
        rows, columns, row, column = _box(self.centre, len(self.level))
        height, width = canvas.signal.shape
        below = canvas.signal[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
        melt, wide = (ndimage.gaussian_filter(below, sigma) for sigma in (2.2, 7))
        # Melt is drawn along bright, upper fibres and recedes from the pores between them.
        level = ndimage.gaussian_filter(self.level + 1.6 * (melt - wide), 2)
        slope = np.hypot(*np.gradient(level))
        distance = level / np.maximum(slope, 0.4 * slope.mean())
        tilt = np.gradient(melt)
        lit = -(tilt[0] * LIGHT[0] + tilt[1] * LIGHT[1])
        rim = np.exp(-((np.clip(distance - 1, -20, 20) / 2) ** 2))
        value = self.brightness * (0.66 + 0.12 * rim) + 0.30 * (melt - 0.4) + 0.9 * lit
        distance = np.minimum(distance, self.reach - SHADOW_REACH - np.hypot(row, column))
        canvas.over(rows, columns, single(distance), single(value), softness=1.5)


def _box(centre: tuple[float, float], size: int) -> tuple[Indices, Indices, Field, Field]:
    """Rows and columns of a square of pixels, and their offsets from its centre."""
    first = [round(part - size / 2) for part in centre]
    rows, columns = np.mgrid[first[0] : first[0] + size, first[1] : first[1] + size]
    offset = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    row, column = np.broadcast_arrays(offset[:, None], offset)
    return rows, columns, row, column

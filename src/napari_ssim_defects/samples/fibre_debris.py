"""What is found on and between fibres but is none: lumps of grains, and films of melt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from .fibre_rendering import LIGHT, SHADOW_REACH, Canvas
from .noise import Field, single, smooth_field

__all__ = ["Film", "Lump"]

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Lump:
    """A heap of bright grains.

    Attributes
    ----------
    centre
        (row, column).
    grains
        (row, column, radius) of each grain, from the centre, float32 of shape (N, 3).
    roughness
        Noise over the box of the lump, float32 of shape (S, S).
    brightness
        Signal of a flat surface.
    """

    centre: tuple[float, float]
    grains: Field
    roughness: Field
    brightness: float

    @classmethod
    def random(
        cls,
        rng: np.random.Generator,
        centre: tuple[float, float],
        diameter: float,
        brightness: float,
    ) -> Lump:
        """Draw a lump of about the given diameter, in pixels."""
        grain = min(rng.uniform(3, 6), diameter / 4)
        half = diameter / 2 - grain
        sides = _sides(rng, half)
        places = single(rng.uniform(-1.4 * half, 1.4 * half, (int((diameter / grain) ** 2), 2)))
        places = places[_inside(sides, *places.T) > 0]
        places = np.concatenate([np.zeros((1, 2), np.float32), places])
        radius = grain * rng.uniform(0.7, 1.4, len(places))
        reach = np.linalg.norm(places, axis=1).max() + 1.4 * grain + 1
        size = int(2 * (reach + SHADOW_REACH + 1))
        roughness = smooth_field(rng, (size, size), 3, octaves=2)
        return cls(centre, single(np.column_stack([places, radius])), roughness, brightness)

    @property
    def reach(self) -> float:
        """Distance from the centre beyond which nothing is drawn, in pixels."""
        return len(self.roughness) / 2 - 1

    def draw(self, canvas: Canvas) -> None:
        """Draw the grains, lit from the detector's side; gaps between them are dark."""
        rows, columns, row, column = _box(self.centre, len(self.roughness))
        pixels = np.stack([row, column], axis=-1)
        away, nearest = cKDTree(self.grains[:, :2]).query(pixels, 2)
        nearest = np.minimum(nearest, len(self.grains) - 1)  # a lump of one grain has no second
        radius = self.grains[nearest[..., 0], 2]
        distance = radius - away[..., 0] + 0.5 * self.roughness
        gap = np.minimum((away[..., 1] - away[..., 0]) / radius, 1)
        dome = np.sqrt(np.maximum(radius**2 - away[..., 0] ** 2, 0)) + 0.4 * self.roughness
        tilt = np.gradient(dome)
        lit = np.tanh(-(tilt[0] * LIGHT[0] + tilt[1] * LIGHT[1]))
        signal = self.brightness * (0.4 + 0.6 * gap) * (1 + 0.35 * lit)
        canvas.over(rows, columns, single(distance), single(signal))


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A smooth, thin sheet of melt that hangs between fibres.

    Attributes
    ----------
    centre
        (row, column).
    sides
        (angle, distance) of each straight side from the centre, float32 of shape (N, 2).
    texture
        Unevenness over the box of the film, float32 of shape (S, S).
    brightness
        Signal of a flat surface.
    """

    centre: tuple[float, float]
    sides: Field
    texture: Field
    brightness: float

    @classmethod
    def random(
        cls,
        rng: np.random.Generator,
        centre: tuple[float, float],
        diameter: float,
        brightness: float,
    ) -> Film:
        """Draw a film of about the given diameter, in pixels."""
        size = int(2 * (0.8 * diameter + SHADOW_REACH + 3))
        texture = smooth_field(rng, (size, size), diameter / 3, octaves=5)
        return cls(centre, _sides(rng, diameter / 2), texture, brightness)

    @property
    def reach(self) -> float:
        """Distance from the centre beyond which nothing is drawn, in pixels."""
        return len(self.texture) / 2 - 1

    def draw(self, canvas: Canvas) -> None:
        """Draw the film over the fibres, which shine through faintly."""
        rows, columns, row, column = _box(self.centre, len(self.texture))
        height, width = canvas.picture.shape
        below = canvas.picture[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
        melt, wide = (ndimage.gaussian_filter(below, sigma) for sigma in (2, 7))
        # Melt is drawn along bright, upper fibres and recedes from the pores between them.
        distance = _inside(self.sides, row, column) + 8 * (melt - wide)
        distance = np.minimum(distance, self.reach - SHADOW_REACH - np.hypot(row, column))
        rim = np.exp(-((np.clip(distance, -9, 9) / 2) ** 2))
        signal = self.brightness * (1 + 0.12 * self.texture + 0.25 * rim + 0.6 * (melt - wide))
        canvas.over(rows, columns, single(distance), single(signal))


def _sides(rng: np.random.Generator, radius: float) -> Field:
    """Sides of a random polygon around the origin, up to twice as long as wide."""
    count = int(rng.integers(4, 9))
    angles = (np.arange(count) + rng.uniform(-0.35, 0.35, count)) / count * 2 * np.pi
    long = 1 + rng.uniform(0, 0.35) * np.cos(2 * (angles - rng.uniform(0, np.pi)))
    return single(np.stack([angles, radius * long * rng.uniform(0.7, 1.1, count)], axis=1))


def _inside(sides: Field, row: Field, column: Field) -> Field:
    """Distance to the nearest side, positive inside the polygon."""
    planes = [distance - row * np.cos(angle) - column * np.sin(angle) for angle, distance in sides]
    return np.asarray(np.min(planes, axis=0), dtype=np.float32)


def _box(centre: tuple[float, float], size: int) -> tuple[Indices, Indices, Field, Field]:
    """Rows and columns of a square of pixels, and their offsets from its centre."""
    first = [round(part - size / 2) for part in centre]
    rows, columns = np.mgrid[first[0] : first[0] + size, first[1] : first[1] + size]
    offset = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    row, column = np.broadcast_arrays(offset[:, None], offset)
    return rows, columns, row, column

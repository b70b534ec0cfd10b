"""Defects of electrospun fibres: their shapes, and where they are placed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from .fibre_rendering import LIGHT, SHADOW_REACH, Canvas, Drawable, Fibre, Strand
from .noise import Field, single, smooth_field

__all__ = [
    "KINDS",
    "Defect",
    "Film",
    "Kind",
    "Lump",
    "plant",
]

Indices = npt.NDArray[np.intp]

Kind = Literal["bead", "dust", "clump", "film", "broken_fibre"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_TURNS: tuple[Kind, ...] = ("broken_fibre", *2 * ("bead",), *4 * ("dust", "clump", "film"))
"""As often as among real ones, of which hardly any is a broken fibre."""

_ATTEMPTS = 200  # places that are tried for a defect before the image counts as full
_HOSTS = 0.3  # part of the upper fibres, counted from the top, on which defects lie
_DIAMETERS = {"dust": (19, 0.2), "clump": (32, 0.6), "film": (36, 0.7)}
"""Median in pixels, and standard deviation of the logarithm; fitted as the mesh is."""

_BRIGHTNESS = {"dust": (2.4, 4.0), "clump": (2.2, 4.0), "film": (1.4, 2.8)}
"""Lowest and highest signal."""

_LARGEST = 0.6  # size of a defect in units of the side of its share of the image


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
        signal = self.brightness * (0.55 + 0.45 * gap) * (1 + 0.25 * lit)
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


@dataclass(frozen=True, slots=True, eq=False)
class Defect:
    """One placed defect.

    Attributes
    ----------
    kind
        One of `KINDS`.
    centre, reach
        (row, column) and radius in pixels of the disc outside of which it changes nothing.
    bodies
        What is drawn instead of the fibre on which it lies.
    host
        Index of that fibre.
    """

    kind: Kind
    centre: tuple[float, float]
    reach: float
    bodies: tuple[Drawable, ...]
    host: int

    def clear_of(self, other: Defect) -> bool:
        """Whether the discs of two defects do not touch."""
        away = np.hypot(self.centre[0] - other.centre[0], self.centre[1] - other.centre[1])
        return bool(away > self.reach + other.reach) and self.host != other.host

    def inside(self, shape: tuple[int, int]) -> bool:
        """Whether most of the defect lies inside the image."""
        margin = 0.45 * self.reach
        return all(
            margin <= part < size - margin for part, size in zip(self.centre, shape, strict=True)
        )


def plant(
    rng: np.random.Generator, fibres: Sequence[Fibre], shape: tuple[int, int], count: int
) -> tuple[list[Drawable], list[Defect]]:
    """Place defects in and on the upper fibres so that none reaches into another.

    Parameters
    ----------
    rng
        Source of randomness.
    fibres
        Upper fibres in the order in which they are drawn.
    shape
        (H, W) of the image.
    count
        Number of defects wanted; kinds take turns in random order, as far as there is room.

    Returns
    -------
    list of Drawable
        What to draw instead of the fibres.
    list of Defect
        What was placed; fewer than wanted if the image is full.
    """
    largest = _LARGEST * min(min(shape), float(np.sqrt(shape[0] * shape[1] / max(count, 1))))
    placed: list[Defect] = []
    turns: list[Kind] = []
    while len(placed) < count:
        turns = turns or [_TURNS[index] for index in rng.permutation(len(_TURNS))]
        for kind in (turns.pop(), *KINDS):  # where one kind finds no room, another may
            defect = _place(rng, kind, fibres, shape, largest, placed)
            if defect is not None:
                placed.append(defect)
                break
        else:
            break
    changed = {defect.host: defect.bodies for defect in placed}
    bodies = [b for i, fibre in enumerate(fibres) for b in changed.get(i, (fibre,))]
    return bodies, placed


def _place(
    rng: np.random.Generator,
    kind: Kind,
    fibres: Sequence[Fibre],
    shape: tuple[int, int],
    largest: float,
    placed: Sequence[Defect],
) -> Defect | None:
    """Draw defects of one kind until one has room."""
    for _ in range(_ATTEMPTS):
        defect = _random_defect(rng, kind, fibres, shape, largest)
        if defect.inside(shape) and all(defect.clear_of(other) for other in placed):
            return defect
    return None


def _random_defect(
    rng: np.random.Generator,
    kind: Kind,
    fibres: Sequence[Fibre],
    shape: tuple[int, int],
    largest: float,
) -> Defect:
    """Draw a defect anywhere, of about ``largest`` pixels at most if its kind allows it."""
    host = int(rng.integers(int((1 - _HOSTS) * len(fibres)), len(fibres)))
    fibre = fibres[host]
    if kind in _DIAMETERS:
        median, spread = _DIAMETERS[kind]
        diameter = min(median * np.exp(spread * rng.standard_normal()), largest)
        centre = (float(rng.uniform(0, shape[0])), float(rng.uniform(0, shape[1])))
        body = Film if kind == "film" else Lump
        loose = body.random(rng, centre, diameter, rng.uniform(*_BRIGHTNESS[kind]))
        return Defect(kind, centre, loose.reach, (fibre, loose), host)
    position = float(rng.uniform(0, len(fibre.centre) - 1))
    make = _bead if kind == "bead" else _break
    bodies, reach = make(rng, fibre, position, largest)
    return Defect(kind, fibre.point(position), reach, bodies, host)


def _bead(
    rng: np.random.Generator, fibre: Fibre, position: float, largest: float
) -> tuple[tuple[Drawable, ...], float]:
    """A spindle or a droplet that the fibre runs through."""
    swelling = min(rng.uniform(5, 12), largest / 4)
    length = swelling * rng.uniform(1.3, 2.6)
    shape = rng.uniform(1.6, 3.0)  # 2 = Gaussian; below like a spindle, above like a droplet
    arc = fibre.arc()
    arc -= np.interp(position, np.arange(len(arc)), arc).astype(np.float32)
    profile = np.exp(-(np.abs(arc / length) ** shape))
    bead = replace(
        fibre,
        radius=(fibre.radius + swelling * profile).astype(np.float32),
        brightness=(fibre.brightness * (1 + 0.08 * profile)).astype(np.float32),
    )
    tip = length * 4.0 ** (1 / shape)  # where the swelling has fallen to exp(-4)
    return (bead,), float(tip + fibre.radius[0] + SHADOW_REACH)


def _break(
    rng: np.random.Generator, fibre: Fibre, position: float, largest: float
) -> tuple[tuple[Drawable, ...], float]:
    """A gap; each of its ends is blunt or has curled up."""
    width = rng.uniform(min(35, largest), np.clip(largest, 25, 90))
    arc, index = fibre.arc(), np.arange(len(fibre.centre))
    at = np.interp(position, index, arc)
    first, last = np.interp([at - width / 2, at + width / 2], arc, index)
    centre, radius = fibre.point(position), float(fibre.radius[0])
    bodies: list[Drawable] = [replace(fibre, gap=(float(first), float(last)))]
    reach = width / 2
    for end, outward in ((first, 1), (last, -1)):
        if rng.random() < 0.35:
            continue
        start = float(end) - 3 * outward  # a little inside, or the blunt end would show
        along = np.linspace(0, 1, int(rng.uniform(0.5, 0.9) * width))
        turn = rng.choice([-1, 1]) * rng.uniform(1.2, 3.4)
        heading = fibre.heading(start) + (0 if outward > 0 else np.pi) + turn * along**1.7
        steps = np.stack([np.cos(heading), np.sin(heading)], axis=1)
        points = np.cumsum(steps, axis=0) + fibre.point(start)
        bodies.append(
            Strand(
                points=points.astype(np.float32),
                radius=(radius * (1 - 0.25 * along)).astype(np.float32),
                brightness=float(np.interp(start, index, fibre.brightness)),
            )
        )
        reach = max(reach, float(np.linalg.norm(points - centre, axis=1).max()))
    return tuple(bodies), reach + radius + SHADOW_REACH + 2

"""Real textures that ship with scikit-image, with painted defects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import data

from ..core.common.errors import InputError
from .noise import Field, generator, single, smooth_field, smooth_line

__all__ = ["PaintedTexture", "painted_texture"]

TextureName = Literal["gravel", "brick", "grass"]

_SLOT = 128  # rows of the image that each defect has to itself
_MARGIN = 10  # pixels at the borders of a slot that stay free
_FAINTEST = 0.1  # opacity below which paint is left out, so that masks have a clear edge


@dataclass(frozen=True, slots=True)
class PaintedTexture:
    """Two parts of one texture: one as it is, one with painted defects.

    Attributes
    ----------
    good
        Defect-free part, uint8 array of shape (512, 256).
    image
        Another part, with defects, uint8 array of the same shape.
    labels
        int32 array of the same shape: 0 = as in the texture, 1 to 4 = painted.
    kinds
        Kind of defect 1 to 4: ``"scratch"``, ``"blob"``, ``"smudge"``, ``"paste"``.
    """

    good: npt.NDArray[np.uint8]
    image: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int32]
    kinds: tuple[str, ...]


def painted_texture(name: TextureName = "gravel", seed: int = 0) -> PaintedTexture:
    """Paint a scratch, a blob, a smudge and a pasted piece into a texture.

    Parameters
    ----------
    name
        Texture of scikit-image; nothing is downloaded.
    seed
        At least 0; decides about place, shape, tone and opacity of the defects.

    Returns
    -------
    PaintedTexture
        Left half of the texture, right half with defects, labels and kinds.

    Raises
    ------
    InputError
        If there is no such texture or the seed is negative.

    References
    ----------
    Zavrtanik, Kristan, Skočaj: DRAEM, a discriminatively trained reconstruction embedding for
    surface anomaly detection, ICCV 2021 (paste with random opacity).

    Examples
    --------
    >>> from napari_ssim_defects.samples import painted_texture
    >>> sample = painted_texture("brick")
    >>> sample.image.shape, sorted(sample.kinds)
    ((512, 256), ['blob', 'paste', 'scratch', 'smudge'])
    """
    if name not in get_args(TextureName):
        raise InputError(
            f"There is no sample texture {name!r}; choose one of "
            f"{', '.join(get_args(TextureName))}."
        )
    rng = generator(seed)
    texture = np.asarray(getattr(data, name)(), dtype=np.uint8)
    good, base = np.split(texture, 2, axis=1)
    image, labels = base.copy(), np.zeros(base.shape, np.int32)
    painters = {"scratch": _scratch, "blob": _blob, "smudge": _smudge, "paste": _paste}
    kinds = [list(painters)[index] for index in rng.permutation(len(painters))]
    for label, kind in enumerate(kinds, start=1):
        slot = slice((label - 1) * _SLOT, label * _SLOT)
        surface = base[slot].astype(np.float32)
        paint, opacity = painters[kind](rng, surface)
        opacity[opacity < _FAINTEST] = 0
        painted = np.clip(np.rint(surface + opacity * (paint - surface)), 0, 255)
        image[slot] = painted.astype(np.uint8)
        labels[slot][opacity > 0] = label
    return PaintedTexture(good.copy(), image, labels, tuple(kinds))


def _scratch(rng: np.random.Generator, surface: Field) -> tuple[Field, Field]:
    """A thin curved line, dark with a bright burr on one side or the reverse."""
    height, width = surface.shape
    length = int(rng.uniform(70, 150))
    start = int(rng.uniform(_MARGIN, width - _MARGIN - length))
    columns = np.arange(width)
    along = np.clip((columns - start) / length, 0, 1)
    room = height / 2 - _MARGIN - 6
    centre = height / 2 + room * rng.uniform(-0.8, 0.8) * (2 * along - 1)
    centre += np.clip(4 * smooth_line(rng, width, 50), -6, 6)
    slope = np.gradient(centre)
    offset = (np.arange(height)[:, None] - centre) / np.sqrt(1 + slope * slope)
    half = rng.uniform(1.2, 2.2) * np.sqrt(np.clip(4 * along * (1 - along), 0, 1)) + 0.3
    opacity = np.clip(half - np.abs(offset) + 0.5, 0, 1) * rng.uniform(0.7, 1)
    opacity[:, (columns < start) | (columns > start + length)] = 0
    dark, bright = _tones(surface)
    paint = np.where(offset * rng.choice([-1, 1]) > 0.3 * half, bright, dark)
    return single(paint), single(opacity)


def _blob(rng: np.random.Generator, surface: Field) -> tuple[Field, Field]:
    """A drop of dark or bright matter, lit from above."""
    inside, opacity = _patch(rng, surface.shape, rng.uniform(10, 24))
    dark, bright = _tones(surface)
    dome = np.sqrt(np.clip(inside, 0, 1))
    paint = rng.choice([dark, bright]) - 12 * np.gradient(inside, axis=0) / 0.05 * (1 - dome)
    return single(paint + 10 * dome), single(opacity * rng.uniform(0.75, 1))


def _smudge(rng: np.random.Generator, surface: Field) -> tuple[Field, Field]:
    """An area whose texture is wiped in one direction."""
    _, opacity = _patch(rng, surface.shape, rng.uniform(20, 36))
    sigma = [rng.uniform(2, 3), rng.uniform(6, 10)]
    paint = ndimage.gaussian_filter(surface, sigma if rng.random() < 0.5 else sigma[::-1])
    return single(paint), opacity


def _paste(rng: np.random.Generator, surface: Field) -> tuple[Field, Field]:
    """A piece from elsewhere, turned upside down, at random opacity."""
    _, opacity = _patch(rng, surface.shape, rng.uniform(18, 34))
    shift = int(rng.uniform(0.3, 0.7) * surface.shape[1])
    # A quarter turn would not fit the slot; a half turn and a stretch break the grain as well.
    paint = np.roll(surface[::-1, ::-1], shift, axis=1)
    paint = ndimage.zoom(paint, (1, 1.6), order=1)[:, : surface.shape[1]]
    paint = paint + rng.choice([-1, 1]) * rng.uniform(10, 30)
    return single(paint), single(opacity * rng.uniform(0.6, 1))


def _patch(rng: np.random.Generator, shape: tuple[int, ...], radius: float) -> tuple[Field, Field]:
    """An irregular patch: its height (1 in the middle, 0 at the outline) and its opacity."""
    height, width = shape
    reach = 1.4 * radius + _MARGIN / 2
    row, column = (rng.uniform(reach, side - reach) for side in (height, width))
    rows, columns = np.ogrid[:height, :width]
    away = np.hypot(rows - row, columns - column) / radius
    level = 1 - away + 0.25 * smooth_field(rng, (height, width), radius / 1.5, octaves=2)
    level = np.minimum(level, 1.4 - away)
    parts, _ = ndimage.label(level > 0)
    level[parts != parts[int(row), int(column)]] = -1  # a patch is one piece
    return single(level), single(np.clip(level * radius / 1.5, 0, 1))


def _tones(surface: Field) -> tuple[float, float]:
    """A dark and a bright grey value that the texture rarely has."""
    dark, bright = np.percentile(surface, [1, 99])
    return float(max(dark - 15, 0)), float(min(bright + 15, 255))

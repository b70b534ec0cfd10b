"""Symmetries: mirror images and turns that look like the good material itself.

Networks then learn from four or eight times as many good patches. On detection each patch is
processed in one of these orientations. Patches overlap, so a pixel is averaged over several
orientations at no extra cost.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..common.score_table import area_below_roc
from ..config import AugmentationConfig
from ..images.tiles import tiles

if TYPE_CHECKING:
    from .areas import TrainingArea

__all__ = ["find_symmetries", "orientation_at", "orientations_of", "oriented", "restored"]

# An orientation is a number of three bits: mirrored left to right, upside down, and transposed.
_MIRRORED = (1, 2, 3)
_TRANSPOSED = (4, 5, 6, 7)
_TURNS = (0, 5, 3, 6)  # by quarters
_ALIKE = 0.55  # probability, .5 at best, that a turned place is less probable than an unturned one
_SQUARES, _SIDE = 16, 256  # that are compared, and their side in pixels
_EVERY = 7  # of the pixels counts: neighbours hardly differ


def oriented(patch: torch.Tensor, orientation: int) -> torch.Tensor:
    """Mirror and transpose a square patch (..., P, P)."""
    if orientation & 1:
        patch = patch.flip(-1)
    if orientation & 2:
        patch = patch.flip(-2)
    return patch.transpose(-1, -2) if orientation & 4 else patch


def restored(patch: torch.Tensor, orientation: int) -> torch.Tensor:
    """Undo `oriented`.

    Examples
    --------
    >>> patch = torch.rand(1, 4, 4)
    >>> all(torch.equal(restored(oriented(patch, k), k), patch) for k in range(8))
    True
    """
    if orientation & 4:
        patch = patch.transpose(-1, -2)
    if orientation & 2:
        patch = patch.flip(-2)
    return patch.flip(-1) if orientation & 1 else patch


def orientations_of(augmentation: AugmentationConfig) -> tuple[int, ...]:
    """Return the orientations of the patches that a network was trained on.

    Examples
    --------
    >>> orientations_of(AugmentationConfig())
    (0,)
    >>> len(orientations_of(AugmentationConfig(flips=True, quarter_turns=True)))
    8
    """
    if augmentation.flips:
        return (0, *_MIRRORED, *(_TRANSPOSED if augmentation.quarter_turns else ()))
    return _TURNS if augmentation.quarter_turns else (0,)


def orientation_at(row: int, column: int, among: Sequence[int]) -> int:
    """Return the orientation in which the patch at this row and column of a grid is processed.

    Any four rows and two columns of patches contain all orientations equally often.
    """
    half = max(1, len(among) // 2)
    return among[(row % half + half * (column % 2)) % len(among)]


def find_symmetries(texture: nn.Module, areas: Sequence[TrainingArea]) -> tuple[bool, bool]:
    """Find out whether a material looks the same when mirrored or turned.

    It does if the texture model finds neighbourhoods of the mirrored material about as probable as
    those of the material itself.

    Parameters
    ----------
    texture
        A `TextureModel` of the material, on the CPU.
    areas
        Normalised good areas, best not those that it has learnt from.

    Returns
    -------
    flips, quarter_turns
        Whether left and right, and top and bottom, may be exchanged; and if so, whether rows and
        columns may be exchanged, too. Neither where no pixel is good.
    """
    areas = _pieces(areas)
    if not areas:
        return False, False
    upright = _improbability(texture, areas, 0)

    def alike(orientation: int) -> bool:
        other = _improbability(texture, areas, orientation)
        return area_below_roc(other, upright) < _ALIKE

    flips = all(map(alike, _MIRRORED))
    return flips, flips and all(map(alike, _TRANSPOSED))


def _pieces(areas: Sequence[TrainingArea]) -> list[TrainingArea]:
    """Cut a few squares with good pixels out of areas; they are compared in seconds."""
    squares = []
    for area in areas:
        for tile in itertools.chain.from_iterable(tiles(area.pixels.shape[1:], _SIDE)):
            piece = area.cut(0, tile.top, tile.bottom).cut(1, tile.left, tile.right)
            if piece.allowed is None or piece.allowed.any():
                squares.append(piece)
    chosen = np.linspace(0, len(squares) - 1, min(_SQUARES, len(squares))).round().astype(int)
    return [squares[place] for place in chosen]


def _improbability(
    texture: nn.Module, areas: Sequence[TrainingArea], orientation: int
) -> npt.NDArray[np.float32]:
    """Return how improbable the good pixels of mirrored or transposed areas are."""
    found = []
    for area in areas:
        turned = oriented(torch.as_tensor(np.array(area.pixels)), orientation)
        with torch.inference_mode():
            values = texture(turned[None])[0, 0]
        if area.allowed is not None:
            values = values[oriented(torch.as_tensor(np.array(area.allowed)), orientation)]
        found.append(values.flatten()[::_EVERY].numpy())
    return np.concatenate(found)

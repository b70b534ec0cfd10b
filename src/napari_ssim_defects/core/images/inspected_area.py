"""The pixels of an image that are inspected: a data bar, say, is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..common.array_checks import truth_array
from ..common.errors import InputError
from ..config.region import BoxRegion, MarginsRegion
from .tiles import Box

__all__ = ["InspectedArea"]


@dataclass(frozen=True, slots=True, eq=False)
class InspectedArea:
    """Pixels of an image or a stack; those outside are not looked at.

    Attributes
    ----------
    height, width
        Of the image.
    box
        A rectangle around all of the pixels.
    inside
        Which pixels of the box they are, bool of the box's shape, or with further axes before
        where planes of a stack differ; None: all.
    """

    height: int
    width: int
    box: Box
    inside: npt.NDArray[np.bool_] | None = None

    @classmethod
    def from_mask(cls, mask: Any, shape: Sequence[int], name: str = "image") -> InspectedArea:
        """Return where a mask is not zero.

        Parameters
        ----------
        mask
            Array of shape (H, W), or (..., H, W) for each plane.
        shape
            Shape (..., H, W) of the image.
        name
            What error messages call the image.

        Raises
        ------
        InputError
            If it is of another shape, or zero everywhere.
        """
        inside = truth_array(mask, f"region of interest of {name}")
        if inside.shape not in (tuple(shape), tuple(shape[-2:])):
            raise InputError(
                f"The region of interest has shape {inside.shape}, which does not fit {name} of "
                f"shape {tuple(shape)}; give one of {shape[-2]} x {shape[-1]} pixels."
            )
        height, width = inside.shape[-2:]
        together = np.asarray(np.any(inside.reshape(-1, height, width), axis=0))
        rows, columns = (np.flatnonzero(np.any(together, axis=axis)) for axis in (1, 0))
        if not rows.size:
            raise InputError(
                f"No pixel of {name} lies inside the region of interest; mark what is to be "
                "inspected in it."
            )
        box = Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        part = inside[..., *box.slices]
        return cls(height, width, box, None if part.all() else part)

    @classmethod
    def from_region(
        cls, region: MarginsRegion | BoxRegion, shape: Sequence[int], name: str = "image"
    ) -> InspectedArea:
        """Return what margins leave, or a box holds, of an image of shape (..., H, W).

        Raises
        ------
        InputError
            If there is nothing left, or the box ends outside the image.
        """
        height, width = shape[-2:]
        if isinstance(region, MarginsRegion):
            box = Box(region.top, region.left, height - region.bottom, width - region.right)
        else:
            (top, bottom), (left, right) = region.rows, region.columns
            box = Box(top, left, bottom, right)
        whole = Box(0, 0, height, width)
        if min(box.shape) < 1 or box.clipped(whole) != box:
            raise InputError(
                f"The region of interest {region} does not fit {name} of {height} x {width} "
                "pixels (rows x columns); correct it."
            )
        return cls(height, width, box)

    def plane(self, index: tuple[int, ...]) -> InspectedArea:
        """Return the area of one plane of a stack."""
        inside = self.inside
        if inside is not None and inside.ndim > 2:
            inside = inside[index]
        return InspectedArea(self.height, self.width, self.box, inside)

    def equals(self, other: InspectedArea | None) -> bool:
        """Whether these are the same pixels."""
        if other is None or (self.height, self.width, self.box) != (
            other.height, other.width, other.box
        ):  # fmt: skip
            return False
        if self.inside is None or other.inside is None:
            return self.inside is other.inside
        return np.array_equal(self.inside, other.inside)

    def mask(self) -> npt.NDArray[np.bool_]:
        """Return which pixels are inspected, bool of shape (H, W), or (..., H, W)."""
        if self.inside is None:
            return self.embedded(np.ones(self.box.shape, bool))
        return self.embedded(self.inside)

    def embedded(self, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Put an array of the box's shape, or with axes before, into the image; 0 outside."""
        whole = np.zeros((*part.shape[:-2], self.height, self.width), part.dtype)
        if self.inside is not None:
            part = np.where(self.inside, part, np.zeros((), part.dtype))
        whole[..., *self.box.slices] = part
        return whole

    def holds(
        self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Return which pixels of one plane are inspected."""
        box = self.box
        held = (
            (box.top <= rows) & (rows < box.bottom) & (box.left <= columns) & (columns < box.right)
        )
        if self.inside is not None:
            held[held] = self.inside[rows[held] - box.top, columns[held] - box.left]
        return held

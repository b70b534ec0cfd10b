"""Access to images and stacks of any layout as planes of shape (C, H, W)."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..common.array_checks import refuse_masked, whole_number
from ..common.errors import InputError, counted
from .tiles import Box

__all__ = ["ImageLike", "Planes", "as_planes", "bit_depth", "plane_number"]

ImageLike: TypeAlias = Any
"""A numpy, dask or zarr array, or anything with ``shape``, ``dtype`` and numpy indexing."""


class Planes(Sequence[npt.NDArray[np.float32]]):
    """The planes of one image or stack; each is read when it is asked for.

    Parameters
    ----------
    image
        Array of shape (..., H, W), or with a channel axis anywhere.
    channel_axis
        Axis of the channels, counted from the end (-1 for RGB); None for grey images.
    alpha
        Whether the last of four channels is opacity, which is left out.
    name
        What error messages call the image.

    Attributes
    ----------
    image, channel_axis, name
        As given.
    channels, height, width
        Of each plane; opacity does not count.
    leading_shape
        Shape of the stack.
    box
        The part of the image that is seen; what is asked for counts from its corner.
    """

    def __init__(
        self, image: ImageLike, channel_axis: int | None, alpha: bool = False, name: str = "image"
    ) -> None:
        self.image = image
        self._alpha = alpha
        self.name = name
        self.dtype = np.dtype(image.dtype)
        self.channel_axis = channel_axis
        shape = list(image.shape)
        self.channels = 1 if channel_axis is None else shape.pop(channel_axis) - alpha
        self.leading_shape = tuple(shape[:-2])
        self.height, self.width = shape[-2:]
        self.box = Box(0, 0, self.height, self.width)

    def place(self, number: int) -> tuple[int, ...]:
        """Return where in the stack a plane lies."""
        return tuple(int(place) for place in np.unravel_index(number, self.leading_shape))

    def cut(self, box: Box) -> Planes:
        """See a part of the image only; nothing is read yet."""
        part = copy.copy(self)
        part.height, part.width = box.shape
        top, left = self.box.top, self.box.left
        part.box = Box(top + box.top, left + box.left, top + box.bottom, left + box.right)
        return part

    def __len__(self) -> int:
        return math.prod(self.leading_shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a residual of the whole image: (..., H, W)."""
        return (*self.leading_shape, self.height, self.width)

    def __getitem__(self, index: Any) -> Any:
        """Return plane ``index`` as a new float32 array of shape (C, H, W).

        Raises
        ------
        InputError
            If it holds NaN or infinite pixels.
        """
        return self.read(index)

    def read(
        self, index: int, rows: slice = slice(None), columns: slice = slice(None)
    ) -> npt.NDArray[np.float32]:
        """Read part of a plane, and nothing else of the image.

        Parameters
        ----------
        index
            Number of the plane.
        rows, columns
            What part of it; by default all.

        Returns
        -------
        numpy.ndarray
            A new float32 array of shape (C, rows, columns).

        Raises
        ------
        InputError
            If the part holds NaN or infinite pixels.
        """
        if index < 0 or index >= len(self):
            raise IndexError(index)
        rows, columns = (
            slice(first + low, first + high, step)
            for first, (low, high, step) in (
                (self.box.top, rows.indices(self.height)),
                (self.box.left, columns.indices(self.width)),
            )
        )
        selection: list[Any] = [*self.place(index), rows, columns]
        axis = self.channel_axis
        if axis is not None:
            selection.insert(len(self.image.shape) + axis, slice(None))
        plane = np.asarray(self.image[tuple(selection)])
        if axis is None:
            plane = plane[np.newaxis]
        else:
            kept = [i for i, part in enumerate(selection) if isinstance(part, slice)]
            plane = np.moveaxis(plane, kept.index(len(selection) + axis), 0)
        if self._alpha:
            plane = plane[:3]
        with np.errstate(over="ignore"):
            plane = np.array(plane, dtype=np.float32, order="C")
        if not np.isfinite(plane).all():
            where = f"plane {index} of {self.name}" if len(self) > 1 else self.name
            raise InputError(
                f"{_sentence_start(where)} has NaN or infinite pixels; replace them by finite "
                "values first."
            )
        return plane

    def assembled(self, planes: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Return an array of the image's layout, without opacity, of all planes (C, H, W)."""
        stack = np.reshape(planes, (*self.leading_shape, self.channels, self.height, self.width))
        if self.channel_axis is None:
            return stack[..., 0, :, :]
        return np.ascontiguousarray(np.moveaxis(stack, -3, self.channel_axis))

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        return (self[index] for index in range(len(self)))


def plane_number(index: Sequence[int], shape: tuple[int, ...]) -> int:
    """Return the number of a plane of an image (..., H, W), from 0 in C order."""
    return int(np.ravel_multi_index(tuple(index), shape[:-2])) if index else 0


def bit_depth(dtype: npt.DTypeLike) -> str:
    """Call a kind of pixels as people do.

    Examples
    --------
    >>> bit_depth("uint8"), bit_depth("int16"), bit_depth("float32")
    ('8-bit', 'signed 16-bit', 'floating point')
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return "floating point"
    return f"{'signed ' * (kind.kind == 'i')}{8 * kind.itemsize}-bit"


def as_planes(
    image: ImageLike, channel_axis: int | None = None, *, grey: bool = False, name: str = "image"
) -> Planes:
    """Give access to an image or a stack as planes.

    Parameters
    ----------
    image
        Grey (H, W) or (..., H, W), RGB or RGBA (..., H, W, 3 or 4), or multichannel with
        ``channel_axis``; any integer or floating-point dtype. Nothing is read or copied yet.
    channel_axis
        Axis of the channels. None: the last axis if it has 3 or 4 entries and there are at
        least three axes (RGB, RGBA; opacity is left out), else there are no channels.
    grey
        Whether the image is known to have no channels, whatever its shape.
    name
        What error messages call the image.

    Raises
    ------
    InputError
        If the array has fewer than two dimensions, is empty, has masked pixels, or a dtype that
        is not a real number (boolean, complex, text, object).
    """
    name = str(name)
    start = _sentence_start(name)
    if not hasattr(image, "shape") or not hasattr(image, "dtype"):
        try:
            image = np.asarray(image)
        except (ValueError, TypeError, OverflowError):  # for example rows of different lengths
            raise InputError(
                f"{start} is not an array; give one whose rows have one length."
            ) from None
    refuse_masked(image, start)
    shape, dtype = tuple(image.shape), np.dtype(image.dtype)
    if len(shape) < 2:
        raise InputError(
            f"{start} has {counted(len(shape), 'dimension')}; an image needs at "
            "least two (height and width)."
        )
    if dtype.kind not in "uif":
        raise InputError(
            f"{start} has dtype {dtype}; convert it to an integer or floating-point type first."
        )
    if 0 in shape:
        raise InputError(f"{start} is empty (shape {shape}); choose one that has pixels.")
    alpha = False
    if channel_axis is not None:
        channel_axis = whole_number(channel_axis, "channel axis")
        if not -len(shape) <= channel_axis < len(shape) or len(shape) < 3:
            raise InputError(
                f"{start} has no axis {channel_axis} for channels besides height and width "
                f"(shape {shape}); name another channel axis."
            )
        channel_axis = channel_axis - len(shape) if channel_axis >= 0 else channel_axis
    elif not grey and len(shape) >= 3 and shape[-1] in (3, 4):
        channel_axis, alpha = -1, shape[-1] == 4
    return Planes(image, channel_axis, alpha, name)


def _sentence_start(text: str) -> str:
    return text if "'" in text[:1] or "." in text else text[:1].upper() + text[1:]

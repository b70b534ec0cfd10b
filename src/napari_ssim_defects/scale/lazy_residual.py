"""Residuals of images that are larger than memory, as dask arrays."""

from __future__ import annotations

import dask.array as da

from ..core.common.device import choose_device, fast_dtype
from ..core.common.errors import InputError
from ..core.detection.predictions import needed_predictions
from ..core.images.planes import ImageLike, Planes
from ..core.images.tiles import PatchGrid
from ..core.model.defect_model import DefectModel
from .blocks import Array, joined, local_blocks, plane_blocks, residual_blocks, scored, tile_sums

__all__ = [
    "lazy_plane",
    "lazy_residual",
    "lazy_stack",
    "patch_grid",
    "prepare_model",
]


def lazy_residual(
    model: DefectModel,
    image: ImageLike,
    *,
    stride: int | None = None,
    channel_axis: int | None = None,
    device: str | None = None,
) -> Array:
    """Return the residual of an image that is computed block by block, when it is asked for.

    Parameters
    ----------
    model
        The trained model.
    image
        A dask, zarr, memory-mapped or other array, as for `DefectModel.planes`. Only what is
        needed is read.
    stride, channel_axis, device
        As for `DefectModel.inspect`.

    Returns
    -------
    dask.array.Array
        float32 of shape (..., H, W). On the same kind of processor its values are those of
        `DefectModel.residual`, bit by bit; to compute a part of it, slice it first. A rarity needs
        up to four tiles of its plane besides, whichever part is computed.

    Raises
    ------
    InputError
        If the image or the device cannot be used; NaN and infinite pixels are found when they
        are computed.

    Examples
    --------
    >>> import tempfile
    >>> import dask.array as da
    >>> import numpy as np
    >>> from napari_ssim_defects import TrainingConfig, train
    >>> recipe = TrainingConfig(patch_size=16, latent_dimension=2, patches=8, epochs=1, stride=8)
    >>> image = np.random.default_rng(0).random((64, 64))
    >>> *_, last = train([image], recipe, device="cpu")
    >>> residual = lazy_residual(last.model, da.from_array(image), device="cpu")
    >>> bool((residual.compute() == last.model.residual(image, device="cpu")).all())
    True
    """
    return lazy_stack(model, model.planes(image, channel_axis), stride=stride, device=device)


def lazy_stack(
    model: DefectModel, planes: Planes, *, stride: int | None = None, device: str | None = None
) -> Array:
    """Return what `lazy_residual` does, of an image that is seen as planes."""
    maps = [
        lazy_plane(model, planes, index, stride=stride, device=device)
        for index in range(len(planes))
    ]
    return da.stack(maps).reshape(planes.shape)


def lazy_plane(
    model: DefectModel,
    planes: Planes,
    index: int,
    *,
    stride: int | None = None,
    device: str | None = None,
) -> Array:
    """Return the residual of one plane, as `lazy_residual` does of all of them."""
    prepare_model(stride, device)
    plane = plane_blocks(model, planes, index)
    reconstruct, kinds = needed_predictions([model.config.residual])
    seen: dict[str, Array] = {}
    if reconstruct:
        grid = patch_grid(model, planes, stride)
        seen["reconstruction"] = joined(tile_sums(model, plane, grid, device), grid)
    if kinds:
        seen["local"] = local_blocks(model, plane, kinds, device)
    return scored(residual_blocks(model, plane, seen), model.config.residual)


def prepare_model(stride: int | None, device: str | None) -> None:
    """Refuse settings that do not work, and choose the number format before threads do."""
    if stride is not None and stride < 1:
        raise InputError(f"The stride must be at least 1 pixel, not {stride}.")
    fast_dtype(choose_device(device))


def patch_grid(model: DefectModel, planes: Planes, stride: int | None) -> PatchGrid:
    """Return where the reconstructed patches lie on each plane."""
    config = model.config
    return PatchGrid.of((planes.height, planes.width), config.patch_size, stride or config.stride)

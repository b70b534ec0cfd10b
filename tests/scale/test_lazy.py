"""Block by block, everything is what it is in memory, bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import torch

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import SegmentationConfig
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.networks import precision
from napari_ssim_defects.core.segmentation.segment import segment
from napari_ssim_defects.scale.lazy import lazy_labels, lazy_residual

pytestmark = pytest.mark.slow

Images = Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]
Maker = Callable[..., DefectModel]
Plane = np.ndarray[Any, np.dtype[np.uint8]]


def _computed(array: Any, workers: int = 2) -> Any:
    return array.compute(scheduler="threads", num_workers=workers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("chunks", [97, (203, 310), (64, 30)])
def test_residual_of_all_views_is_that_in_memory(
    dtype: torch.dtype,
    chunks: Any,
    viewed_model: DefectModel,
    spoilt: Plane,
    small_tiles: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "fast_dtype", lambda _: dtype)
    assert viewed_model.config.augmentation.quarter_turns  # so that orientations count, too
    expected = viewed_model.residual(spoilt, device="cpu")
    lazy = lazy_residual(viewed_model, da.from_array(spoilt, chunks=chunks), device="cpu")
    assert (lazy.shape, lazy.dtype) == (expected.shape, np.float32)
    assert min(lazy.numblocks) > 2
    np.testing.assert_array_equal(_computed(lazy), expected)


def test_what_networks_say_of_several_tiles_is_that_in_memory(
    viewed_model: DefectModel, spoilt: Plane, small_tiles: int
) -> None:
    image = np.tile(spoilt, (3, 2))
    lazy = lazy_residual(viewed_model, image, device="cpu")
    np.testing.assert_array_equal(_computed(lazy), viewed_model.residual(image, device="cpu"))


@pytest.mark.filterwarnings("ignore:image looks unlike")  # the smallest ones do
@pytest.mark.parametrize("shape", [(5, 9), (10, 300), (131, 20), (64, 65), (129, 96)])
def test_residual_of_planes_of_any_size_is_that_in_memory(
    shape: tuple[int, int], viewed_model: DefectModel, material: Images, small_tiles: int
) -> None:
    image = material(4, shape)
    lazy = lazy_residual(viewed_model, image, stride=5, device="cpu")
    expected = viewed_model.residual(image, stride=5, device="cpu")
    np.testing.assert_array_equal(_computed(lazy), expected)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("paper", {"patch_size": 32, "stride": 64}),
        ("quick", {"system": "vae"}),
        ("quick", {"system": "l2", "batch_norm": False}),
    ],
)
def test_residual_of_every_system_is_that_in_memory(
    name: str, changes: dict[str, Any], trained: Maker, spoilt: Plane, small_tiles: int
) -> None:
    model = trained(name, **changes)
    for calibrated in model.calibrated_residuals:
        scored = model.with_residual(calibrated.residual.kind)
        expected = scored.residual(spoilt, device="cpu")
        np.testing.assert_array_equal(
            _computed(lazy_residual(scored, spoilt, device="cpu")), expected
        )


def test_stacks_with_channels_anywhere_and_opacity(
    trained: Maker, material: Images, small_tiles: int
) -> None:
    stack = material(5, (2, 3, 150, 70))
    model = trained("quick", np.moveaxis(stack[0], 0, -1))
    expected = model.residual(stack, channel_axis=1, device="cpu")
    lazy = lazy_residual(model, da.from_array(stack, chunks=40), channel_axis=1, device="cpu")
    assert lazy.shape == (2, 150, 70)
    np.testing.assert_array_equal(_computed(lazy), expected)
    rgba = np.concatenate([stack, stack[:, :1]], axis=1)
    lazy = lazy_residual(model, np.moveaxis(rgba, 1, -1), device="cpu")
    np.testing.assert_array_equal(_computed(lazy), expected)


def test_a_part_is_computed_without_the_rest(
    viewed_model: DefectModel, spoilt: Plane, small_tiles: int
) -> None:
    spoilt = np.tile(spoilt, (3, 3))
    model = viewed_model.with_residual("features")
    expected = model.residual(spoilt, device="cpu")
    read: list[int] = []

    def note(block: Plane) -> Plane:
        read.append(block.size)
        return block

    image = da.from_array(spoilt, chunks=32).map_blocks(note, dtype=np.uint8)
    lazy = lazy_residual(model, image, device="cpu")
    assert not any(read)
    part = lazy[10:20, 5:30].compute(scheduler="synchronous")
    np.testing.assert_array_equal(part, expected[10:20, 5:30])
    assert 0 < sum(read) < spoilt.size


def test_pixels_that_are_no_numbers_are_said_when_they_are_computed(
    viewed_model: DefectModel, spoilt: Plane, small_tiles: int
) -> None:
    stack = np.stack([spoilt, spoilt]).astype(np.float32)
    stack[1, 200, 300] = np.inf
    lazy = lazy_residual(viewed_model, stack, device="cpu")
    _computed(lazy[0])
    with pytest.raises(InputError, match="Plane 1 of image has NaN or infinite pixels"):
        _computed(lazy[1])


def test_strides_and_images_that_do_not_fit_are_refused_at_once(
    viewed_model: DefectModel, spoilt: Plane
) -> None:
    with pytest.raises(InputError, match="stride"):
        lazy_residual(viewed_model, spoilt, stride=0)
    with pytest.raises(InputError, match="RGB"):
        lazy_residual(viewed_model, np.zeros((50, 50, 3)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"opening": 9, "closing": 13, "clear_border": True},
        {"convex_hull": False, "fill_holes": False, "connectivity": 4, "min_area": 0},
        {"review_threshold": 0.4, "max_area": 400},
        {"review_threshold": 0.0, "hysteresis": False, "opening": 0},
    ],
)
@pytest.mark.parametrize("shape", [(203, 310), (2, 2, 90, 140), (3, 200)])
def test_labels_are_those_in_memory_and_consistent_across_blocks(
    changes: dict[str, Any], shape: tuple[int, ...], rng: np.random.Generator, small_tiles: int
) -> None:
    from scipy import ndimage

    noise = ndimage.gaussian_filter(rng.normal(size=shape), (0,) * (len(shape) - 2) + (5, 5))
    residual = (noise / noise.std()).astype(np.float32)
    config = SegmentationConfig(**changes)
    expected = segment(residual, 0.6, **config.model_dump())
    chunks = (1,) * (len(shape) - 2) + (41, 67)
    labels = lazy_labels(da.from_array(residual, chunks=chunks), 0.6, config)
    np.testing.assert_array_equal(_computed(labels), expected)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(_computed(labels[..., 1:40, 30:90]), expected[..., 1:40, 30:90])


def test_every_block_of_a_residual_is_computed_once_for_its_labels(small_tiles: int) -> None:
    seen: list[tuple[int, ...]] = []

    def note(block: Any, block_id: tuple[int, ...] = ()) -> Any:
        if block.size:
            seen.append(block_id)
        return block

    residual = da.zeros((200, 300), chunks=64, dtype=np.float32).map_blocks(
        note, dtype=np.float32, meta=np.zeros((0, 0), np.float32)
    )
    with dask.config.set(scheduler="synchronous"):
        lazy_labels(residual, 0.5, SegmentationConfig(review_threshold=0.2)).compute()
    assert len(seen) == len(set(seen)) == 4 * 5


def test_residuals_and_thresholds_that_are_no_numbers_are_refused() -> None:
    broken = da.full((40, 40), np.nan, dtype=np.float32)
    with pytest.raises(InputError, match="NaN"):
        lazy_labels(broken, 0.5)
    with pytest.raises(InputError, match="number"):
        lazy_labels(da.zeros((40, 40), dtype=np.float32), float("nan"))
    with pytest.raises(InputError, match="review"):
        lazy_labels(broken, 0.5, SegmentationConfig(review_threshold=0.6))


def test_zarr_and_memory_maps_are_read_in_parts(
    viewed_model: DefectModel, spoilt: Plane, tmp_path: Path, small_tiles: int
) -> None:
    zarr = pytest.importorskip("zarr")
    expected = viewed_model.residual(spoilt, device="cpu")
    stored = zarr.create_array(tmp_path / "a.zarr", data=spoilt, chunks=(50, 60))
    np.testing.assert_array_equal(
        _computed(lazy_residual(viewed_model, stored, device="cpu")), expected
    )
    np.save(tmp_path / "a.npy", spoilt)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        _computed(lazy_residual(viewed_model, mapped, device="cpu")), expected
    )

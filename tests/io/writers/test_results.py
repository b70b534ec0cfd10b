"""The files about what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import OutputConfig
from napari_ssim_defects.core.images.planes import as_planes
from napari_ssim_defects.core.segmentation.regions import measure_regions
from napari_ssim_defects.io.files.spatial import SpatialMetadata
from napari_ssim_defects.io.images.image_file import find_images, read_image
from napari_ssim_defects.io.writers.overlay import (
    DEFECT_COLOUR,
    REVIEW_COLOUR,
    display_limits,
    outlined,
)
from napari_ssim_defects.io.writers.results import Result, ResultWriter

EVERYTHING = OutputConfig(kinds=("residual", "labels", "mask", "table", "overlay"))


def _result(shape: tuple[int, ...] = (20, 30)) -> Result:
    """An image with one region per plane."""
    labels = np.zeros(shape, np.int32)
    planes = labels.reshape(-1, *shape[-2:])
    for number, plane in enumerate(planes):
        plane[5:9, 6:12] = number + 1
    residual = labels.astype(np.float32) / 2
    regions = [
        (number, region)
        for number, plane in enumerate(planes)
        for region in measure_regions(plane, plane.astype(np.float32))
    ]
    axes = "TZYX"[-len(shape) :]
    spatial = SpatialMetadata(axes, (0.5,) * len(axes), ("µm",) * len(axes))
    image = as_planes(np.full(shape, 100, np.uint8))
    return Result("weave.png", "weave", spatial, residual, labels, regions, image)


@pytest.mark.parametrize("shape", [(20, 30), (2, 20, 30)])
@pytest.mark.parametrize("tiff", ["ome", "imagej", "zarr"])
def test_all_that_is_written_is_told_and_is_no_image_to_inspect(
    shape: tuple[int, ...], tiff: str, tmp_path: Path
) -> None:
    writer = ResultWriter(tmp_path / "new", EVERYTHING.replace(format=tiff))
    files = writer.write(_result(shape))
    told = {path for paths in files.values() for path in paths} | set(writer.finish())
    assert told == set((tmp_path / "new").iterdir())
    assert list(files) == ["residual", "labels", "mask", "overlay"]
    with pytest.raises(InputError, match="no images"):
        find_images([tmp_path / "new"])
    for kind in ("residual", "labels", "mask"):
        image = read_image(files[kind][0])
        assert (image.pixel_size, image.unit) == ((0.5, 0.5), "µm")


def test_nothing_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No output is chosen"):
        ResultWriter(tmp_path / "new", OutputConfig(kinds=()))
    assert not (tmp_path / "new").exists()


def test_existing_files_are_named(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path, EVERYTHING)
    writer.refuse_existing([("weave", (2,))])
    (tmp_path / "weave.overlay-1.png").write_text("old")
    with pytest.raises(InputError, match=r"'weave.overlay-1.png' is already in"):
        writer.refuse_existing([("felt", ()), ("weave", (2,))])


def test_lines_run_around_regions_and_leave_them_to_be_seen() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[5:9, 6:12], labels[5:9, 12:16] = 1, 2
    labels[15:17, 20:24] = 3
    picture = outlined(np.full((1, 20, 30), 100, np.float32), labels, (0.0, 255.0), np.array([3]))
    defect = (picture == DEFECT_COLOUR).all(axis=-1)
    review = (picture == REVIEW_COLOUR).all(axis=-1)
    expected = np.zeros_like(defect)
    expected[4:10, 5:17] = True
    expected[5:9, 6:16] = False
    expected[5:9, 11] = True  # between regions that touch
    np.testing.assert_array_equal(defect, expected)
    assert review.sum() == 4 * 6 - 2 * 4
    assert (picture[~defect & ~review] == 100).all()


def test_colour_images_stay_in_colour_and_other_channels_are_averaged() -> None:
    labels = np.zeros((4, 4), np.int32)
    colour = np.stack([np.full((4, 4), value, np.float32) for value in (10, 20, 30)])
    assert outlined(colour, labels, (0, 255))[0, 0].tolist() == [10, 20, 30]
    assert outlined(colour[:2], labels, (0, 255))[0, 0].tolist() == [15, 15, 15]


def test_brightness_is_that_of_the_file_for_8_bits_and_else_fits_the_values() -> None:
    ramp = np.linspace(1000, 3000, 200 * 300).reshape(200, 300)
    assert display_limits(as_planes(np.zeros((4, 4), np.uint8))) == (0, 255)
    low, high = display_limits(as_planes(ramp.astype(np.uint16)))
    assert (low, high) == pytest.approx((1002, 2998), abs=1)
    assert outlined(np.full((1, 4, 4), 7, np.float32), np.zeros((4, 4), int), (7, 7)).max() == 0

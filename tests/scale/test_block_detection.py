"""Images that do not fit into memory give the files that they would give in memory."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_ssim_defects.core.config import OutputConfig, SegmentationConfig
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.io.artifacts.recipe import DetectionSettings
from napari_ssim_defects.io.files import pyramid
from napari_ssim_defects.io.images import image_file as images
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.io.writers.ome_tiff import write_ome_tiff
from napari_ssim_defects.scale import file_detection
from napari_ssim_defects.scale.folders import FileDone, FileFailed, FileProgress, detect_files

pytestmark = pytest.mark.slow

Images = Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]
Plane = np.ndarray[Any, np.dtype[np.uint8]]

EVERYTHING = ("residual", "labels", "mask", "table", "overlay")


@pytest.fixture
def in_blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called, every image counts as too large for memory."""

    def begin() -> None:
        monkeypatch.setattr(file_detection, "_LARGEST_IN_MEMORY", 0)
        monkeypatch.setattr(images, "_SMALL", 0)

    for name, value in (("LARGE_SIDE", 200), ("_SMALLEST_SIDE", 64)):
        monkeypatch.setattr(pyramid, name, value)
    return begin


def _detected(
    model: DefectModel, path: Path, folder: Path, **changes: Any
) -> tuple[FileDone, list[float]]:
    options = {"outputs": OutputConfig(kinds=EVERYTHING), **changes}
    segmentation = options.pop("segmentation", SegmentationConfig())
    threshold = options.pop("threshold", model.calibration.threshold(0.02))
    *progress, last = detect_files(
        model,
        [path],
        folder,
        DetectionSettings(threshold=threshold, segmentation=segmentation, device="cpu", **options),
    )
    assert isinstance(last, FileDone), last
    return last, [message.fraction for message in progress if isinstance(message, FileProgress)]


def _table(folder: Path) -> list[list[str]]:
    with (folder / "regions.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


@pytest.mark.parametrize("tiff", ["ome", "imagej", "zarr"])
@pytest.mark.parametrize("shape", [(203, 310), (2, 150, 140)])
def test_files_of_blocks_are_those_of_memory(
    tiff: Any,
    shape: tuple[int, ...],
    viewed_model: DefectModel,
    material: Images,
    tmp_path: Path,
    small_tiles: int,
    in_blocks: Callable[[], None],
) -> None:
    image = material(3, shape)
    image[..., 55:72, 80:120] = 255
    path = tmp_path / "a.ome.tif"
    write_ome_tiff(path, image, pixel_size=(0.5, 0.25), unit="µm")
    options = {
        "outputs": OutputConfig(kinds=EVERYTHING, format=tiff),
        "segmentation": SegmentationConfig(
            review_threshold=viewed_model.calibration.threshold(0.1)
        ),
    }
    expected, _ = _detected(viewed_model, path, tmp_path / "memory", **options)
    in_blocks()
    found, fractions = _detected(viewed_model, path, tmp_path / "blocks", **options)
    assert expected.regions >= 3
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert len(fractions) > 10
    for kind in ("residual", "labels", "mask"):
        first, second = (read_image(file.files[kind][0]) for file in (expected, found))
        np.testing.assert_array_equal(second.data, first.data)
        assert (second.data.dtype, second.spatial) == (first.data.dtype, first.spatial)
    assert [path.read_bytes() for path in expected.files["overlay"]] == [
        path.read_bytes() for path in found.files["overlay"]
    ]
    assert _table(tmp_path / "blocks") == _table(tmp_path / "memory")
    assert found.regions == expected.regions
    assert found.defective_fraction == expected.defective_fraction
    assert found.residual is None
    assert found.labels is None


def test_large_planes_are_written_as_tiles_with_a_pyramid(
    viewed_model: DefectModel, spoilt: Plane, tmp_path: Path, small_tiles: int,
    in_blocks: Callable[[], None],
) -> None:  # fmt: skip
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, spoilt, tile=(32, 32), compression="zlib")
    in_blocks()
    found, _ = _detected(viewed_model, path, tmp_path / "blocks")
    for kind in ("residual", "labels"):
        with tifffile.TiffFile(found.files[kind][0]) as tif:
            assert tif.series[0].keyframe.is_tiled
            assert len(tif.series[0].levels) > 1


def test_zarr_is_inspected_with_its_scale(
    viewed_model: DefectModel, spoilt: Plane, tmp_path: Path, small_tiles: int,
    in_blocks: Callable[[], None],
) -> None:  # fmt: skip
    from napari_ssim_defects.io.files.spatial import SpatialMetadata
    from napari_ssim_defects.io.writers.ome_zarr import write_ome_zarr

    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(path, spoilt, SpatialMetadata("YX", (0.5, 0.25), ("µm", "µm")))
    in_blocks()
    found, _ = _detected(viewed_model, path, tmp_path / "blocks")
    image = read_image(found.files["residual"][0])
    np.testing.assert_array_equal(image.data, viewed_model.residual(spoilt, device="cpu"))
    assert found.files["residual"][0].name == "a.residual.ome.tif"
    assert (image.pixel_size, image.unit) == ((0.5, 0.25), "µm")


def test_a_file_that_is_damaged_inside_is_reported_and_nothing_is_left(
    viewed_model: DefectModel, spoilt: Plane, tmp_path: Path, small_tiles: int,
    in_blocks: Callable[[], None],
) -> None:  # fmt: skip
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, spoilt, tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(path) as tif:
        offset, count = tif.pages[0].dataoffsets[-1], tif.pages[0].databytecounts[-1]
    content = path.read_bytes()
    path.write_bytes(content[:offset] + b"\x07" * count + content[offset + count :])
    in_blocks()
    *_, last = detect_files(
        viewed_model,
        [path],
        tmp_path / "out",
        DetectionSettings(threshold=1.0, segmentation=SegmentationConfig()),
    )
    assert isinstance(last, FileFailed)
    assert "damaged" in last.reason
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["regions.csv"]


def test_without_the_packages_large_images_are_inspected_in_memory(
    viewed_model: DefectModel, spoilt: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    in_blocks: Callable[[], None],
) -> None:  # fmt: skip
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, spoilt)
    in_blocks()
    monkeypatch.setattr(file_detection, "_has_dask", lambda: False)
    found, _ = _detected(viewed_model, path, tmp_path / "out")
    assert isinstance(found.residual, np.ndarray)

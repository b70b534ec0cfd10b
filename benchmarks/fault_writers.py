"""What `faults.py` interrupts: everything that writes files, each with an old and a new version."""

from __future__ import annotations

import hashlib
import importlib
import io
from collections.abc import Callable
from dataclasses import replace
from email.message import Message
from functools import cache
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import torch
from fuzz_targets import TINY, model, texture
from PIL import Image

from napari_ssim_defects import TrainingConfig, train
from napari_ssim_defects.core.config import OutputConfig, SegmentationConfig
from napari_ssim_defects.core.evaluation.scores import evaluate
from napari_ssim_defects.core.images.planes import as_planes
from napari_ssim_defects.core.training.checkpoint import Checkpoint
from napari_ssim_defects.core.training.messages import TrainingCheckpoint
from napari_ssim_defects.io.artifacts import pretrained_weights as alexnet_weights
from napari_ssim_defects.io.artifacts.checkpoint_file import write_checkpoint
from napari_ssim_defects.io.artifacts.recipe import (
    DetectionSettings,
    Recipe,
    TrainingRecipe,
    write_recipe,
)
from napari_ssim_defects.io.files import pyramid
from napari_ssim_defects.io.files.pyramid import ScratchPyramid, scratch_folder
from napari_ssim_defects.io.files.spatial import SpatialMetadata
from napari_ssim_defects.io.writers.figures import write_curves
from napari_ssim_defects.io.writers.imagej import write_imagej_tiff
from napari_ssim_defects.io.writers.journal import Journal
from napari_ssim_defects.io.writers.ome_tiff import write_ome_tiff
from napari_ssim_defects.io.writers.ome_zarr import write_ome_zarr
from napari_ssim_defects.io.writers.overlay import write_overlay
from napari_ssim_defects.io.writers.report import ReportEntry, write_report
from napari_ssim_defects.io.writers.tables import REGION_COLUMNS, write_csv
from napari_ssim_defects.scale.folders import FileFailed, detect_files
from napari_ssim_defects.scale.residual_store import ResidualStore

__all__ = ["JOURNAL", "WRITERS", "prepare"]

Version = int  # 0 is the old one, 1 the new one
PLANE = SpatialMetadata("YX", (0.5, 0.5), ("µm", "µm"))
JOURNAL = "journal"
SIDES = 700, 40
pyramid.LARGE_SIDE, pyramid._SMALLEST_SIDE = 600, 400  # two blocks, and a smaller copy of them


@cache
def pixels(version: Version, shape: tuple[int, ...] = (40, 50)) -> npt.NDArray[np.float32]:
    return np.random.default_rng(version).random(shape, dtype=np.float32)


def lazy(version: Version) -> Any:
    return da.from_array((255 * pixels(version, SIDES)).astype(np.uint8), chunks=(300, 40))


@cache
def state() -> Checkpoint:
    messages = train([texture()], TINY, device="cpu")
    return [message.state for message in messages if isinstance(message, TrainingCheckpoint)][-1]


@cache
def scores() -> Any:
    return evaluate([pixels(0)], [pixels(1) > 0.8])


@cache
def weights() -> bytes:
    stream = io.BytesIO()
    torch.save({"features.0.bias": torch.arange(100_000.0)}, stream)
    return stream.getvalue()


class Response(io.BytesIO):
    headers = Message()


def a_model(folder: Path, version: Version) -> None:
    replace(model(), warnings=(f"Version {version}.",)).save(folder / "model.safetensors")


def a_checkpoint(folder: Path, version: Version) -> None:
    write_checkpoint(state(), folder / "c.checkpoint.safetensors", {"version": str(version)})


def an_ome_tiff(folder: Path, version: Version) -> None:
    write_ome_tiff(folder / "a.ome.tif", pixels(version))


def a_tiff_in_blocks(folder: Path, version: Version) -> None:
    write_ome_tiff(folder / "a.ome.tif", lazy(version) if version else pixels(0))


def an_imagej_tiff(folder: Path, version: Version) -> None:
    write_imagej_tiff(folder / "a.tif", pixels(version), PLANE)


def an_ome_zarr(folder: Path, version: Version) -> None:
    write_ome_zarr(folder / "a.ome.zarr", lazy(1) if version else pixels(0), PLANE)


def a_table(folder: Path, version: Version) -> None:
    rows = [dict.fromkeys(REGION_COLUMNS, version)] * 500
    write_csv(folder / "regions.csv", rows, REGION_COLUMNS)


def a_record(folder: Path, version: Version) -> None:
    """Append a record to those of other images."""
    for image in ("old.png", "new.png")[version : version + 1]:
        rows = [dict.fromkeys(REGION_COLUMNS, 1)] * 20
        record = {"key": "k", "files": {}, "regions": 20, "defective_fraction": 0.5,
                  "seconds": 1.0, "thumbnail": "", "rows": rows}  # fmt: skip
        Journal(folder).add(Path("/", image), record)


def a_recipe(folder: Path, version: Version) -> None:
    config = TrainingConfig(seed=version)
    training = TrainingRecipe(images=(folder / "good",), config=config)
    write_recipe(Recipe(model=folder / "model.safetensors", training=training), folder / "r.toml")


def a_report(folder: Path, version: Version) -> None:
    entries = [ReportEntry(f"{number}.png", version, 0.1, "") for number in range(300)]
    write_report(folder / "report.html", entries, [("b.png", "It is damaged.")], 0.5)


def a_picture(folder: Path, version: Version) -> None:
    labels = (pixels(0) > 0.5).astype(np.int32)
    write_overlay(folder / "a.overlay.png", pixels(version), labels, (0.0, 1.0))


def a_plot(folder: Path, version: Version) -> None:
    if version:
        write_curves(folder / "curves.png", scores())
    else:
        (folder / "curves.png").write_text("old")


def weights_of_alexnet(folder: Path, version: Version) -> None:
    """Fetch what is there only after it; nothing is ever replaced."""
    if version:
        alexnet_weights.SHA256 = hashlib.sha256(weights()).hexdigest()
        alexnet_weights.urlopen = lambda url, timeout: Response(weights())  # type: ignore[assignment]
        torch.hub.set_dir(folder)
        for _ in alexnet_weights.fetched_weights():
            pass


def a_large_residual(folder: Path, version: Version) -> None:
    """Compute on disk what nobody keeps."""
    if version:
        planes = as_planes(150 * pixels(1, (24, 32)))
        with scratch_folder(folder) as scratch:
            for _ in ResidualStore(model(), planes, scratch, device="cpu").fill():
                pass


def large_labels(folder: Path, version: Version) -> None:
    if version:
        with scratch_folder(folder) as scratch:
            labels = ScratchPyramid(scratch, (2, *SIDES), np.dtype(np.int32))
            for plane, top in ((0, 0), (0, 512), (1, 0)):
                labels.write((plane,), top, 0, np.ones((min(512, SIDES[0] - top), 40), np.int32))


def a_detection(folder: Path, version: Version) -> None:
    """Inspect a folder, and go on where an earlier attempt ended."""
    if not version:
        for number in range(2):
            Image.fromarray((255 * pixels(number)).astype(np.uint8)).save(folder / f"{number}.png")
        return
    outputs = OutputConfig(kinds=("residual", "labels", "mask", "overlay", "table"))
    images = sorted(folder.glob("*.png"))
    for message in detect_files(
        model(),
        images,
        folder / "results",
        DetectionSettings(
            threshold=0.1,
            segmentation=SegmentationConfig(),
            outputs=outputs,
            device="cpu",
            report=True,
        ),
    ):
        if isinstance(message, FileFailed):
            raise AssertionError(f"blamed on the image: {message.reason}")


def prepare(name: str, folder: Path) -> None:
    """Compute and import once what a writer is not tried for."""
    for module in ("matplotlib.backends.backend_agg", "numcodecs", "zarr"):
        importlib.import_module(module)
    if name == "checkpoint":
        state()
    elif name == "plot":
        a_plot(folder, 1)
    else:
        model().residual(150 * pixels(0), device="cpu")


WRITERS: dict[str, Callable[[Path, Version], None]] = {
    "model": a_model,
    "checkpoint": a_checkpoint,
    "OME-TIFF": an_ome_tiff,
    "OME-TIFF in blocks": a_tiff_in_blocks,
    "ImageJ TIFF": an_imagej_tiff,
    "OME-Zarr": an_ome_zarr,
    "table": a_table,
    JOURNAL: a_record,
    "recipe": a_recipe,
    "report": a_report,
    "picture": a_picture,
    "plot": a_plot,
    "AlexNet's weights": weights_of_alexnet,
    "large residual": a_large_residual,
    "large labels": large_labels,
    "detection": a_detection,
}

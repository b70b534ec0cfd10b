"""A detection as the line of a shell, or the Python program, that writes the same files."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...core.config import SegmentationConfig
from ...core.model.thresholds import FixedThreshold
from .recipe import DetectionRecipe

__all__ = ["detection_line", "detection_program"]


def detection_line(model: Path, recipe: DetectionRecipe) -> str:
    """Return the line of the shell that detects with a model file."""
    words = ["napari-ssim-defects", "detect", str(model), *map(str, recipe.images)]
    words += ["-o", str(recipe.folder)]
    words += ["--threshold", "auto" if recipe.threshold is None else str(recipe.threshold)]
    if recipe.residual is not None:
        words += ["--residual", recipe.residual]
    if recipe.stride is not None:
        words += ["--stride", str(recipe.stride)]
    if recipe.roi is not None:
        words += ["--roi", str(recipe.roi)]
    for name, value in _decisive(recipe.segmentation).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", repr(value)]
    words += ["--save", ",".join(recipe.outputs.kinds), "--format", recipe.outputs.format]
    if recipe.report:
        words.append("--report")
    if recipe.pixel_size is not None:
        words += ["--pixel-size", ",".join(map(repr, recipe.pixel_size)), "--unit", recipe.unit]
    if recipe.device not in (None, "auto"):
        words += ["--device", str(recipe.device)]
    if recipe.cluster is not None:
        words += ["--cluster", recipe.cluster]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def detection_program(model: Path, recipe: DetectionRecipe) -> str:
    """Return the Python program that detects with a model file."""
    return "\n".join([*_lines(model, recipe), ""])


def _lines(model: Path, recipe: DetectionRecipe) -> Iterator[str]:
    yield "from pathlib import Path"
    yield ""
    yield "from napari_ssim_defects import DefectModel, SegmentationConfig"
    yield "from napari_ssim_defects.core.config import OutputConfig"
    if recipe.roi is not None:
        yield "from napari_ssim_defects.core.config.region import parse_region"
    if not isinstance(recipe.threshold, FixedThreshold | None):
        yield "from napari_ssim_defects.core.model.thresholds import parse_threshold"
    yield "from napari_ssim_defects.io.images.image_file import find_images"
    yield "from napari_ssim_defects.scale.folders import FileDetected, FileFailed, detect_files"
    yield ""
    yield f"model = DefectModel.load({str(model)!r})"
    yield f"model = model.with_residual({recipe.residual!r})"
    if recipe.threshold is None:
        yield "threshold = model.auto_threshold"
    elif isinstance(recipe.threshold, FixedThreshold):
        yield f"threshold = {recipe.threshold.value!r}"
    else:
        yield f"threshold = parse_threshold({str(recipe.threshold)!r}).of(model.calibration)"
    yield "images = ["
    yield from (f"    {str(path)!r}," for path in recipe.images)
    yield "]"
    yield "segmentation = SegmentationConfig("
    yield from (f"    {name}={value!r}," for name, value in _decisive(recipe.segmentation).items())
    yield ")"
    outputs = f"kinds={recipe.outputs.kinds!r}, format={recipe.outputs.format!r}"
    yield f"outputs = OutputConfig({outputs})"
    yield ""
    yield "for message in detect_files("
    yield "    model,"
    yield "    find_images(images),"
    yield f"    Path({str(recipe.folder)!r}),"
    yield "    threshold,"
    yield "    segmentation,"
    yield "    outputs,"
    names = ["stride", "device", "cluster", "pixel_size"]
    if recipe.pixel_size is not None:
        names.append("unit")
    for name in names:
        value = getattr(recipe, name)
        if value not in (None, "auto"):
            yield f"    {name}={value!r},"
    if recipe.roi is not None:
        yield f"    roi=parse_region({str(recipe.roi)!r}),"
    if recipe.report:
        yield "    report=True,"
    yield "):"
    yield "    if isinstance(message, FileDetected):"
    yield '        print(f"{message.path.name}: {message.regions} regions")'
    yield "        for notice in message.notices:"
    yield "            print(notice)"
    yield "    elif isinstance(message, FileFailed):"
    yield "        print(message.reason)"


def _decisive(config: SegmentationConfig) -> Mapping[str, Any]:
    """Return all values but those that decide nothing beside the others."""
    values = {name: value for name, value in config.model_dump().items() if value is not None}
    if config.review_threshold is None:
        del values["hysteresis"]
    return values

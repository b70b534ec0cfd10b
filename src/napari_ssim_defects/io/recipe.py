"""A detection as values, and as the shell line or the Python script that repeats it."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.config import ResidualKind, SegmentationConfig
from ..core.outputs import OutputConfig
from ..core.values import Values

__all__ = ["DetectionRecipe"]


class DetectionRecipe(Values):
    """Everything that decides about the files that a detection writes.

    Attributes
    ----------
    model
        Model file.
    images
        Image files, in the order of the table.
    folder
        Where results go.
    threshold, segmentation
        What is outlined.
    outputs
        What is written.
    residual
        What images are compared by.
    stride
        Distance between patches, in pixels.
    device
        Where the network runs.
    pixel_size, unit
        What counts instead of the pixel size in the files; None: what the files say.
    """

    model: Path
    images: tuple[Path, ...]
    folder: Path
    threshold: float
    segmentation: SegmentationConfig
    outputs: OutputConfig
    residual: ResidualKind
    stride: int
    device: str = "auto"
    pixel_size: tuple[float, ...] | None = None
    unit: str | None = None

    def command(self) -> str:
        """Return the line of the shell that writes the same files."""
        words = ["napari-ssim-defects", "detect", str(self.model), *map(str, self.images)]
        words += ["-o", str(self.folder), "--threshold", repr(self.threshold)]
        words += ["--residual", self.residual, "--stride", str(self.stride)]
        for name, value in _decisive(self.segmentation).items():
            option = name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            else:
                words += [f"--{option}", repr(value)]
        words += ["--save", ",".join(self.outputs.kinds), "--format", self.outputs.tiff]
        if self.pixel_size is not None:
            words += [
                "--pixel-size",
                ",".join(map(repr, self.pixel_size)),
                "--unit",
                str(self.unit),
            ]
        if self.device != "auto":
            words += ["--device", self.device]
        return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)

    def script(self) -> str:
        """Return the Python program that writes the same files."""
        return "\n".join([*self._script_lines(), ""])

    def _script_lines(self) -> Iterator[str]:
        yield "from pathlib import Path"
        yield ""
        yield "from napari_ssim_defects import DefectModel, SegmentationConfig"
        yield "from napari_ssim_defects.core.outputs import OutputConfig"
        yield "from napari_ssim_defects.scale.folders import FileDetected, FileFailed, detect_files"
        yield ""
        yield f"model = DefectModel.load({str(self.model)!r})"
        yield f"model = model.with_residual({self.residual!r})"
        yield "images = ["
        yield from (f"    Path({str(path)!r})," for path in self.images)
        yield "]"
        yield "segmentation = SegmentationConfig("
        yield from (
            f"    {name}={value!r}," for name, value in _decisive(self.segmentation).items()
        )
        yield ")"
        outputs = f"kinds={self.outputs.kinds!r}, tiff={self.outputs.tiff!r}"
        yield f"outputs = OutputConfig({outputs})"
        yield ""
        yield "for message in detect_files("
        yield "    model,"
        yield "    images,"
        yield f"    Path({str(self.folder)!r}),"
        yield f"    {self.threshold!r},"
        yield "    segmentation,"
        yield "    outputs,"
        yield f"    stride={self.stride!r},"
        if self.device != "auto":
            yield f"    device={self.device!r},"
        if self.pixel_size is not None:
            yield f"    pixel_size={self.pixel_size!r},"
            yield f"    unit={self.unit!r},"
        yield "):"
        yield "    if isinstance(message, FileDetected):"
        yield '        print(f"{message.path.name}: {message.regions} regions")'
        yield "    elif isinstance(message, FileFailed):"
        yield "        print(message.reason)"


def _decisive(config: SegmentationConfig) -> Mapping[str, Any]:
    """Return all values but those that decide nothing beside the others."""
    values = {name: value for name, value in config.model_dump().items() if value is not None}
    if config.review_threshold is None:
        del values["hysteresis"]
    return values

"""The whole job on generated nanofibre images: train, detect, segment, score, write, show."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.common.errors import InputError
from ..core.config import SegmentationConfig, TrainingConfig
from ..core.evaluation.scores import evaluate
from ..core.model.defect_model import DefectModel
from ..core.training.messages import TrainingFinished, TrainingStep
from ..core.training.train import train
from ..io.files.atomic import ensure_folder
from ..io.writers.figures import OverviewRow, write_overview
from ..io.writers.ome_tiff import write_ome_tiff
from ..samples import DEFECTIVE_SEEDS, GOOD_SEEDS, NanofibreSample, nanofibres
from ..scale.folders import FileDetected, FileFailed, FileProgress, detect_files
from .terminal import Bar

__all__ = ["DemoResults", "run_demo"]

_PIXEL_SIZE, _UNIT = (0.05, 0.05), "µm"


@dataclass(frozen=True, slots=True)
class DemoResults:
    """What the demo made.

    Attributes
    ----------
    summary
        Scores and paths, as plain values.
    model, model_path
        The trained model, and its file.
    pixel_size, unit
        Height and width of a pixel of the samples, and their unit.
    good
        The defect-free training samples.
    defective
        The inspected samples with their ground truth.
    detected
        What was found in them, in the same order.
    """

    summary: Mapping[str, Any]
    model: DefectModel
    model_path: Path
    pixel_size: tuple[float, float]
    unit: str
    good: tuple[NanofibreSample, ...]
    defective: tuple[NanofibreSample, ...]
    detected: tuple[FileDetected, ...]

    @property
    def text(self) -> str:
        """The summary for a person."""
        s = self.summary
        return (
            f"Found {s['defects_found']} of {s['defects']} defects with {s['false_regions']} "
            f"false region(s); pixel AUROC {s['pixel_auroc']:.3f}, IoU {s['iou']:.2f} at the "
            f"automatic threshold {s['threshold']:.3f}, in {s['seconds']:.0f} s.\n"
            f"Overview: {s['overview']}\nTIFF files, regions.csv and the model: {s['folder']}"
        )


def run_demo(folder: str | os.PathLike[str], minutes: float | None = None) -> DemoResults:
    """Train on generated defect-free images, and find the defects in others.

    Parameters
    ----------
    folder
        Where model, residuals, labels, ``regions.csv`` and ``overview.png`` go. The images go to
        ``good`` and ``defective`` in it, and the masks of the latter to ``truth``, under the same
        names, as the commands `train`, `detect` and `evaluate` take them.
    minutes
        Limit of the training time; None: none.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    start = time.perf_counter()
    folder = ensure_folder(folder)
    kinds = ("good", "defective", "truth")
    good_folder, defective_folder, truth_folder = (ensure_folder(folder / kind) for kind in kinds)
    with Bar("drawing nanofibres") as bar:
        good: list[NanofibreSample] = []
        defective: list[NanofibreSample] = []
        seeds = (*GOOD_SEEDS, *DEFECTIVE_SEEDS)
        for number, seed in enumerate(seeds, start=1):
            defects = seed in DEFECTIVE_SEEDS
            (defective if defects else good).append(nanofibres(seed, defects=defects))
            bar.show(number / len(seeds), "")
    write = partial(write_ome_tiff, pixel_size=_PIXEL_SIZE, unit=_UNIT)
    for number, sample in enumerate(good, start=1):
        write(good_folder / f"good_{number}.ome.tif", sample.image)
    paths = [
        defective_folder / f"defective_{number}.ome.tif" for number in range(1, len(defective) + 1)
    ]
    for path, sample in zip(paths, defective, strict=True):
        write(path, sample.image)
        write(truth_folder / path.name, sample.labels)

    config = TrainingConfig.preset("quick", minutes=minutes)
    names = [f"good_{number}" for number in range(1, len(good) + 1)]
    with Bar("training") as bar:
        for message in train([sample.image for sample in good], config, names=names):
            if isinstance(message, TrainingStep):
                bar.show(message.fraction, f"loss {message.loss:.3f}")
    assert isinstance(message, TrainingFinished)
    model = message.model
    model_path = folder / "nanofibres.safetensors"
    model.save(model_path)

    detected: list[FileDetected] = []
    with Bar("detecting") as bar:
        for result in detect_files(
            model, paths, folder, model.auto_threshold, SegmentationConfig(), overwrite=True
        ):
            if isinstance(result, FileProgress):
                bar.show(result.fraction, result.path.name)
            elif isinstance(result, FileFailed):
                raise InputError(result.reason)
            elif isinstance(result, FileDetected):
                detected.append(result)

    overview = folder / "overview.png"
    rows = [
        OverviewRow(
            name=result.path.name.removesuffix(".ome.tif"),
            image=sample.image,
            truth=sample.labels,
            residual=result.residual,
            labels=result.labels,
        )
        for sample, result in zip(defective, detected, strict=True)
    ]
    write_overview(overview, rows, model.calibration.contrast_limits)
    summary = {
        **_score(defective, detected),
        "threshold": model.auto_threshold,
        "seconds": time.perf_counter() - start,
        "folder": str(folder),
        "overview": str(overview),
    }
    return DemoResults(
        summary,
        model,
        model_path,
        _PIXEL_SIZE,
        _UNIT,
        tuple(good),
        tuple(defective),
        tuple(detected),
    )


def _score(
    samples: list[NanofibreSample], detected: list[FileDetected]
) -> dict[str, float | int | None]:
    """Compare what was found with the generated truth."""
    pairs = [
        (sample.labels, result.labels) for sample, result in zip(samples, detected, strict=True)
    ]
    defects = sum(int(truth.max()) for truth, _ in pairs)
    hit = sum(len(np.setdiff1d(truth[found > 0], 0)) for truth, found in pairs)
    regions = sum(int(found.max()) for _, found in pairs)
    true_regions = sum(len(np.setdiff1d(found[truth > 0], 0)) for truth, found in pairs)
    both = sum(np.count_nonzero((truth > 0) & (found > 0)) for truth, found in pairs)
    either = sum(np.count_nonzero((truth > 0) | (found > 0)) for truth, found in pairs)
    scores = evaluate([result.residual for result in detected], [t > 0 for t, _ in pairs])
    return {
        "defects": defects,
        "defects_found": hit,
        "false_regions": regions - true_regions,
        "iou": float(both / either),
        "pixel_auroc": scores.auroc,
        "aupro": scores.aupro,
    }

"""The whole job on generated nanofibre images: train, detect, segment, score, write, show."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..core.common.errors import InputError
from ..core.config import TrainingConfig
from ..core.evaluation.scores import Evaluator
from ..core.model.defect_model import DefectModel
from ..core.training.messages import TrainingFinished, TrainingStep
from ..core.training.train import train
from ..io.files.atomic import ensure_folder
from ..io.writers.figures import OverviewRow, write_overview
from ..io.writers.ome_tiff import write_ome_tiff
from ..samples import DEFECTIVE_SEEDS, GOOD_SEEDS, NanofibreSample, nanofibres
from ..scale.folders import FileFailed, FileProgress, detect_files
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
    rows
        The other samples with their ground truth, and what was found in them.
    """

    summary: Mapping[str, Any]
    model: DefectModel
    model_path: Path
    pixel_size: tuple[float, float]
    unit: str
    good: tuple[NanofibreSample, ...]
    rows: tuple[OverviewRow, ...]

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
    good, defective = _samples()
    paths = _write_images(folder, good, defective)
    model = _trained(good, minutes)
    model_path = folder / "nanofibres.safetensors"
    model.save(model_path)
    rows = _detect(model, model_path.stem, paths, defective, folder)
    overview = folder / "overview.png"
    write_overview(overview, rows, model.contrast_limits)
    summary = {
        **_scores(rows),
        "threshold": model.auto_threshold,
        "seconds": time.perf_counter() - start,
        "folder": str(folder),
        "overview": str(overview),
    }
    return DemoResults(summary, model, model_path, _PIXEL_SIZE, _UNIT, tuple(good), tuple(rows))


def _samples() -> tuple[list[NanofibreSample], list[NanofibreSample]]:
    """Draw defect-free samples, and others."""
    samples = []
    seeds = (*GOOD_SEEDS, *DEFECTIVE_SEEDS)
    with Bar("drawing nanofibres") as bar:
        for number, seed in enumerate(seeds, start=1):
            samples.append(nanofibres(seed, defects=seed in DEFECTIVE_SEEDS))
            bar.show(number / len(seeds), "")
    return samples[: len(GOOD_SEEDS)], samples[len(GOOD_SEEDS) :]


def _write_images(
    folder: Path, good: Sequence[NanofibreSample], defective: Sequence[NanofibreSample]
) -> list[Path]:
    """Write all samples, and the masks of the defective ones; return where those images are."""
    write = partial(write_ome_tiff, pixel_size=_PIXEL_SIZE, unit=_UNIT)
    good_folder, defective_folder, truth_folder = (
        ensure_folder(folder / kind) for kind in ("good", "defective", "truth")
    )
    for number, sample in enumerate(good, start=1):
        write(good_folder / f"good_{number}.ome.tif", sample.image)
    paths = []
    for number, sample in enumerate(defective, start=1):
        paths.append(defective_folder / f"defective_{number}.ome.tif")
        write(paths[-1], sample.image)
        write(truth_folder / paths[-1].name, sample.labels)
    return paths


def _trained(good: Sequence[NanofibreSample], minutes: float | None) -> DefectModel:
    config = TrainingConfig.preset("quick", minutes=minutes)
    names = [f"good_{number}" for number in range(1, len(good) + 1)]
    with Bar("training") as bar:
        for message in train([sample.image for sample in good], config, names=names):
            if isinstance(message, TrainingStep):
                bar.show(message.fraction, f"loss {message.loss:.3f}")
    assert isinstance(message, TrainingFinished)
    return message.model


def _detect(
    model: DefectModel,
    name: str,
    paths: Sequence[Path],
    samples: Sequence[NanofibreSample],
    folder: Path,
) -> list[OverviewRow]:
    """Detect defects in files that show samples, and write the results."""
    rows: list[OverviewRow] = []
    with Bar("detecting") as bar:
        for message in detect_files(model, paths, folder, name=name, overwrite=True):
            if isinstance(message, FileProgress):
                bar.show(message.fraction, message.path.name)
                continue
            if isinstance(message, FileFailed):
                raise InputError(message.reason)
            assert message.residual is not None
            assert message.labels is not None
            sample, name = samples[len(rows)], message.path.name.removesuffix(".ome.tif")
            rows.append(
                OverviewRow(name, sample.image, sample.labels, message.residual, message.labels)
            )
    return rows


def _scores(rows: Sequence[OverviewRow]) -> dict[str, float | int | None]:
    """Compare what was found with the generated truth, as the command ``evaluate`` does."""
    evaluator = Evaluator()
    for row in rows:
        evaluator.add(row.residual, row.truth > 0, row.labels > 0)
    scores = evaluator.result()
    return {
        "defects": scores.defects,
        "defects_found": scores.found,
        "false_regions": sum(image.false_regions for image in scores.per_image),
        "iou": None if scores.confusion is None else scores.confusion.iou,
        "pixel_auroc": scores.auroc,
        "aupro": scores.aupro,
    }

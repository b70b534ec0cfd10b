"""Detection over many image files: residuals, labels and one table of regions."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..core.common.device import choose_device, memory_kept
from ..core.common.errors import InputError
from ..core.common.progress import relayed
from ..core.detection.anomaly_score import foreign_notice
from ..core.evaluation.froc import froc_thresholds
from ..core.evaluation.scores import Evaluation, Evaluator
from ..core.model.defect_model import DefectModel
from ..core.segmentation.segment import refuse_reversed, segment_planes
from ..io.artifacts.recipe import DetectionSettings
from ..io.files.naming import output_stems, table_names
from ..io.images.checks import mask_notice
from ..io.images.image_file import inspected_area, located, match_truth, read_image, read_mask
from ..io.writers.journal import Journal
from ..io.writers.report import REPORT_NAME, write_report
from ..io.writers.results import ResultWriter
from ..io.writers.tables import found_by
from .file_detection import (
    FileDone,
    FileFailed,
    FileProgress,
    NotWritten,
    Target,
    detect_file,
    file_notices,
    file_planes,
    finished_earlier,
)

__all__ = [
    "FileDone",
    "FileFailed",
    "FileProgress",
    "FilesEvaluated",
    "detect_files",
    "evaluate_files",
    "several_cards",
    "worker_per_card",
]

_USUAL = DetectionSettings()


def detect_files(
    model: DefectModel,
    paths: Sequence[Path],
    folder: str | os.PathLike[str],
    settings: DetectionSettings = _USUAL,
    *,
    overwrite: bool = False,
    name: str = "",
) -> Iterator[FileProgress | FileDone | FileFailed]:
    """Detect defects in image files and write the results.

    Images that an earlier run finished with the same model and settings are skipped, unless they
    or their results have changed.

    Parameters
    ----------
    model
        The trained model.
    paths
        Image files.
    folder
        Where `ResultWriter` puts the files about each image and one ``regions.csv``; made if it
        does not exist. The table names images by file name, or by path where names are not unique.
    settings
        What is done to each of them.
    overwrite
        Whether finished images are processed again.
    name
        What the table and the report call the model.

    Yields
    ------
    FileProgress, FileDone or FileFailed
        Progress within a file, then its end.

    Raises
    ------
    InputError
        If the folder or a file in it cannot be written, the model has no such residual, the device
        is not there, or the cluster cannot be reached or a package for it is missing.
    """
    model = model.with_residual(settings.residual)
    settings = settings.replace(roi=located(settings.roi))
    threshold, cluster = settings.threshold_for(model), settings.cluster
    refuse_reversed(threshold, settings.segmentation)
    if cluster is None:
        choose_device(settings.device)
    elif importlib.util.find_spec("distributed") is None:
        raise InputError(
            "A cluster needs the package distributed: pip install napari-ssim-defects[dask]."
        )
    writer = ResultWriter(folder, settings.outputs)
    journal = Journal(writer.folder)
    targets = [
        Target(path, stem, name)
        for path, stem, name in zip(paths, output_stems(paths), table_names(paths), strict=True)
    ]
    left: list[Target] = []
    for target in targets:
        done = None if overwrite else finished_earlier(model, settings, target, writer, journal)
        if done is None:
            left.append(target)
        else:
            yield done
    failures: dict[Path, str] = {}
    messages: Iterator[FileProgress | FileDone | FileFailed]
    if left and cluster is not None:
        from .cluster import detect_on_cluster

        messages = detect_on_cluster(cluster, model, settings, left, writer.folder, journal)
    else:
        messages = _detect_here(model, settings, left, writer, journal)
    with memory_kept():
        for message in messages:
            if isinstance(message, FileFailed):
                failures[message.path] = message.reason
            yield message
    finished = [target for target in targets if target.path not in failures]
    maker = found_by(name, model.provenance.get("created", ""), threshold)
    rows = journal.rows(target.path for target in finished)
    writer.finish({**row, **maker} for row in rows)
    if settings.report:
        names = {target.path: target.name for target in targets}
        write_report(
            writer.folder / REPORT_NAME,
            journal.entries((target.path, target.name) for target in finished),
            [(names[path], reason) for path, reason in failures.items()],
            threshold,
            name,
            model.notes,
        )


def _detect_here(
    model: DefectModel,
    settings: DetectionSettings,
    targets: Sequence[Target],
    writer: ResultWriter,
    journal: Journal,
) -> Iterator[FileProgress | FileDone | FileFailed]:
    """Process one image after another: a network uses all processors by itself."""
    for index, target in enumerate(targets):

        def progress(part: float, path: Path = target.path, index: int = index) -> FileProgress:
            return FileProgress(path, (index + part) / len(targets))

        try:
            steps = detect_file(model, settings, target, writer)
            done, record = yield from relayed(steps, progress)
        except NotWritten:
            raise
        except InputError as error:
            yield FileFailed(target.path, str(error))
            continue
        journal.add(target.path, record)
        yield done
        del done


@dataclass(frozen=True, slots=True)
class FilesEvaluated:
    """Scores over all files.

    Attributes
    ----------
    paths
        The images.
    evaluation
        Their scores.
    seconds_per_image
        Mean time to read and score a file.
    notices
        Notices about images and masks.
    """

    paths: tuple[Path, ...]
    evaluation: Evaluation
    seconds_per_image: float
    notices: tuple[str, ...] = ()


def evaluate_files(
    model: DefectModel,
    paths: Sequence[Path],
    mask_folder: str | os.PathLike[str] | Sequence[Path | None] | None,
    settings: DetectionSettings = _USUAL,
) -> Iterator[FileProgress | FilesEvaluated]:
    """Score a model on image files against their masks.

    Parameters
    ----------
    model
        The trained model.
    paths
        Image files.
    mask_folder
        Folder of masks (see `match_truth`), or the masks themselves; non-zero =
        defect, None = an image without defects. None: all images are.
    settings
        How they are scored. Pixels that are not inspected do not count; nothing is written.

    Raises
    ------
    InputError
        If an image or its mask cannot be used, or there is nothing to score.
    """
    masks: Sequence[Path | None]
    if isinstance(mask_folder, str | os.PathLike):
        masks = match_truth(paths, mask_folder)
    elif mask_folder is None:
        masks = [None] * len(paths)
    else:
        masks = mask_folder
    model = model.with_residual(settings.residual)
    threshold, roi = settings.threshold_for(model), located(settings.roi)
    refuse_reversed(threshold, settings.segmentation)
    evaluator, seconds = Evaluator(froc_thresholds(model.calibration)), 0.0
    notices: list[str] = []
    for index, (path, mask) in enumerate(zip(paths, masks, strict=True)):
        start = time.perf_counter()
        image = read_image(path)
        planes = file_planes(model, image)
        if len(planes) > 1:
            raise InputError(f"'{path}' is a stack; evaluate its planes as single files.")
        seconds += time.perf_counter() - start
        shape = planes.shape[-2:]
        truth = np.zeros(shape, bool) if mask is None else read_mask(mask, shape)
        area = inspected_area(roi, planes.shape, planes.name)
        notices += file_notices(model, image, planes, area)
        odd_mask = None if mask is None else mask_notice(mask, truth)
        notices += [odd_mask] if odd_mask else []
        start = time.perf_counter()

        def progress(part: float, path: Path = path, index: int = index) -> FileProgress:
            return FileProgress(path, (index + part) / len(paths))

        steps = model.detect_image(
            planes, stride=settings.stride, device=settings.device, area=area
        )
        detected = yield from relayed(steps, progress)
        seconds += time.perf_counter() - start
        notices += [foreign_notice(planes.name)] if detected.foreign else []
        residual = detected.residual.reshape(shape)
        ((_, found),) = segment_planes(residual, threshold, settings.segmentation, area)
        evaluator.add(residual, truth, found.labels() > 0, area)
    yield FilesEvaluated(tuple(paths), evaluator.result(), seconds / len(paths), tuple(notices))


def several_cards(device: str | None, images: int) -> tuple[str, ...]:
    """Return the CUDA names of the cards to distribute images over; none if it is not worth it.

    Parameters
    ----------
    device
        Where networks are to run; None: the fastest there is. A single card such as ``"cuda:1"``
        is used alone.
    images
        Number of images.
    """
    count = min(torch.cuda.device_count(), images)
    certain = device is not None and device not in ("auto", "cuda")
    if count < 2 or certain or importlib.util.find_spec("distributed") is None:
        return ()
    if choose_device(device).type != "cuda":
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = visible.split(",") if visible else map(str, range(count))
    return tuple(card.strip() for card in cards)[:count]


@contextmanager
def worker_per_card(cards: Sequence[str]) -> Iterator[str | None]:
    """Start a worker process for each card; gives the address of their scheduler.

    Parameters
    ----------
    cards
        As `several_cards` names them; none: nothing is started, and there is no address. The
        processes begin by importing the program that asks for them, so a script has to be
        guarded by ``if __name__ == "__main__"``.
    """
    if not cards:
        yield None
        return
    from distributed import Nanny, Scheduler, SpecCluster

    workers = {
        card: {
            "cls": Nanny,
            "options": {"nthreads": 1, "env": {"CUDA_VISIBLE_DEVICES": card}},
        }
        for card in cards
    }
    options = {"host": "127.0.0.1", "dashboard": False}
    with SpecCluster(workers, {"cls": Scheduler, "options": options}, silence_logs=40) as cluster:
        yield str(cluster.scheduler_address)

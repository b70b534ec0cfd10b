"""What the benchmarks share: data sets, trainings that are kept and their scores, and times."""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from napari_ssim_defects import DefectModel, InputError, TrainingConfig, train
from napari_ssim_defects.cli.terminal import Bar
from napari_ssim_defects.core.common.device import memory_kept, to_device
from napari_ssim_defects.core.common.progress import drained
from napari_ssim_defects.core.config import ResidualKind
from napari_ssim_defects.core.evaluation.froc import froc_summary
from napari_ssim_defects.core.evaluation.scores import Evaluation
from napari_ssim_defects.core.images.intensity import IntensityRange
from napari_ssim_defects.core.model.calibrate import calibrate
from napari_ssim_defects.core.networks.autoencoder import Autoencoder, initialise
from napari_ssim_defects.core.patches.areas import TrainingArea, training_side
from napari_ssim_defects.core.patches.patch_source import PatchSource
from napari_ssim_defects.core.training.loader import BatchLoader, PatchSampler
from napari_ssim_defects.core.training.losses import Criterion
from napari_ssim_defects.core.training.messages import (
    TrainingCheckpoint,
    TrainingFinished,
    TrainingStep,
)
from napari_ssim_defects.core.training.trainer import Trainer
from napari_ssim_defects.core.training.validation import Validation
from napari_ssim_defects.io.artifacts.checkpoint_file import (
    checkpoint_path,
    read_checkpoint,
    write_checkpoint,
)
from napari_ssim_defects.io.files.atomic import atomic_path
from napari_ssim_defects.io.images.datasets import Dataset, find_dataset
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.samples import GOOD_SEEDS, nanofibres
from napari_ssim_defects.scale.folders import FilesEvaluated, evaluate_files

NANOFIBRES = "nanofibres"
"""The word for generated images, where a data set is asked for."""

_SECONDS = "wall-clock seconds"

Candidate = Callable[[], object]


def seconds(
    candidates: dict[str, Candidate], rounds: int, kept: Collection[str] = ()
) -> dict[str, float]:
    """Median seconds of each candidate; they take turns, after one turn that does not count.

    Memory is kept between the calls of those in ``kept``, as it is while a training runs; the
    others find the C library at its own largest thresholds. Each call is the second of its turn.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, candidate in candidates.items():
            with memory_kept() if name in kept else nullcontext():
                candidate()
                start = time.perf_counter()
                candidate()
                if number:
                    times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def fibres() -> TrainingArea:
    """Return a normalised image of good nanofibres."""
    plane = nanofibres(1).image[np.newaxis].astype(np.float32)
    return TrainingArea(plane).normalised(IntensityRange.from_planes([plane], (1, 99)))


def trainer(config: TrainingConfig, device: torch.device, at_once: int = 1) -> Trainer:
    """Return a trainer on a nanofibre image, without the texture model.

    ``at_once``: batches that are corrupted at once.
    """
    area = fibres()
    side = training_side([area], config)
    source = PatchSource([area], side, config.augmentation, device)
    network = Autoencoder.from_config(config, 1)
    initialise(network, 0)
    criterion = Criterion(config, torch.Generator(device))
    fixed = source.cut(source.positions(16, np.random.default_rng(0)))
    return Trainer(
        config,
        to_device(network, device),
        device,
        BatchLoader(
            PatchSampler(source, config.patches, config.fixed_patches, 0), criterion, at_once
        ),
        criterion,
        Validation(config, criterion, fixed, held_out=False),
    )


def open_dataset(name: str, out: Path) -> Dataset:
    """Recognise the data set in a folder, or make the generated one in ``out``."""
    if name == NANOFIBRES:
        return find_dataset(_generated(out / f"{NANOFIBRES}-images"))
    return find_dataset(name)


def find_datasets(names: Sequence[str], out: Path) -> dict[str, Dataset]:
    """Find data sets by name: each a data set, a folder of them, or the word for generated images.

    In a folder of data sets, what is none is told on stderr and left out.

    Raises
    ------
    InputError
        If a name stands for no data set, or two of them have the same one.
    """
    found: dict[str, Dataset] = {}
    for name in names:
        try:
            here = {Path(name).name: open_dataset(name, out)}
        except InputError:
            here = _inside(Path(name))
            if not here:
                raise
        for twice in here.keys() & found.keys():
            raise InputError(f"Two data sets are called '{twice}'; rename one of the folders.")
        found |= here
    return found


def _inside(folder: Path) -> dict[str, Dataset]:
    found = {}
    for path in sorted(path for path in folder.glob("*") if path.is_dir()):
        try:
            found[path.name] = find_dataset(path)
        except InputError as error:
            print(error, file=sys.stderr)
    return found


def printed(
    run: Callable[[argparse.Namespace], dict[str, Any]],
    options: argparse.Namespace,
    table: Callable[[dict[str, Any]], str],
) -> int:
    """Print what an experiment finds, as JSON or as a table; return the exit status."""
    try:
        result = run(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(result, indent=2) if options.json else table(result))
    return 0


def kept(file: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what an earlier run left in a JSON file, or compute it and leave it there."""
    if not file.exists():
        found = compute()
        with atomic_path(file) as temporary:
            temporary.write_text(json.dumps(found), "utf-8")
    result: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return result


def identity(dataset: Dataset, values: object) -> str:
    """Return a short name of an experiment on a data set with these (JSON) values.

    It is the same on every computer, wherever the images lie there.
    """
    text = json.dumps([values, [(path.name, path.stat().st_size) for path in dataset.good]])
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def scored(
    dataset: Dataset,
    config: TrainingConfig,
    folder: Path,
    *,
    residual: ResidualKind | None = None,
    alexnet: Path | None = None,
) -> dict[str, Any]:
    """Train and score by a residual (None: the recipe's), or read what an earlier run left.

    Raises
    ------
    InputError
        If the images cannot be trained on, or there are no weights of AlexNet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # By what is unusual in the recipe: settings that come later change no name.
    usual = TrainingConfig().model_dump(mode="json")
    recipe = {k: v for k, v in config.model_dump(mode="json").items() if v != usual[k]}
    stem = f"{config.name}-{config.system}-{config.seed}-{identity(dataset, recipe)}"
    model_file = folder / f"{stem}.safetensors"

    def compute() -> dict[str, Any]:
        if model_file.exists():
            model = DefectModel.load(model_file)
        else:
            with Bar(f"{folder.name}: training {config.name} {config.system}") as bar:
                model = _trained(dataset, config, alexnet, checkpoint_path(model_file), bar)
            model.save(model_file)
        model = model.with_residual(residual)
        with Bar(f"{folder.name}: testing {config.name} {model.config.residual.kind}") as bar:
            return _scores(model, dataset, bar)

    return kept(folder / f"{stem}.{residual or config.residual.kind}.json", compute)


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return the scores that every benchmark tells."""
    return {
        "pixel_auroc": evaluation.auroc,
        "pixel_auprc": evaluation.auprc,
        "aupro": evaluation.aupro,
        "overlap_at_fpr_0.05": {str(q): v for q, v in evaluation.overlap_quantiles.items()},
        "found_at": froc_summary(evaluation.froc),
    }


def _scores(model: DefectModel, dataset: Dataset, bar: Bar) -> dict[str, Any]:
    for message in evaluate_files(model, dataset.test, dataset.masks):
        if isinstance(message, FilesEvaluated):
            found = message
        else:
            bar.show(message.fraction, message.path.name)
    assert found.evaluation.confusion is not None
    return {
        **summary(found.evaluation),
        "iou": found.evaluation.confusion.iou,
        "defects": found.evaluation.defects,
        "defects_found": found.evaluation.found,
        "false_regions_per_image": found.evaluation.false_regions_per_image,
        "threshold": model.auto_threshold,
        "precision": model.provenance["precision"],
        "steps": model.history[-1].step,
        "seconds": float(model.provenance[_SECONDS]),
        "seconds_per_image": found.seconds_per_image,
    }


def _trained(
    dataset: Dataset, config: TrainingConfig, alexnet: Path | None, checkpoint: Path, bar: Bar
) -> DefectModel:
    """Train, or go on; the wall-clock time of this run is kept in the model's provenance."""
    images = [read_image(path) for path in dataset.good]
    axis = images[0].channel_axis
    start = time.perf_counter()
    for message in train(
        [image.data for image in images], config, channel_axis=axis,
        names=[str(path) for path in dataset.good], alexnet=alexnet,
        state=read_checkpoint(checkpoint) if checkpoint.exists() else None,
    ):  # fmt: skip
        if isinstance(message, TrainingStep):
            bar.show(message.fraction, f"loss {message.loss:.4f}")
        elif isinstance(message, TrainingCheckpoint):
            write_checkpoint(message.state, checkpoint)
    assert isinstance(message, TrainingFinished)
    checkpoint.unlink(missing_ok=True)
    seconds = f"{time.perf_counter() - start:.1f}"
    model = replace(message.model, provenance={**message.model.provenance, _SECONDS: seconds})
    if not dataset.validation:
        return model
    held_out = [read_image(path).data for path in dataset.validation]
    return drained(calibrate(model, held_out, channel_axis=axis))


def _generated(folder: Path) -> Path:
    """The good nanofibre images of the sample data and ten defective ones."""
    for name in ("train_good", "test", "mask"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for seed in (*GOOD_SEEDS, *range(101, 111)):
        kind = "test" if seed > 100 else "train_good"
        path = folder / kind / f"{seed}.png"
        if not path.exists():
            sample = nanofibres(seed, defects=seed > 100)
            if seed > 100:
                mask = Image.fromarray((255 * (sample.labels > 0)).astype(np.uint8))
                mask.save(folder / "mask" / path.name)
            Image.fromarray(sample.image).save(path)
    return folder

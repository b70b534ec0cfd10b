"""The paper's figure 5 and table 1 on any data set, under one budget for all.

python benchmarks/paper.py DATASET [--preset paper] [--minutes M | --epochs N] [--patches P]
    [--systems ssim l2 vae fmae] [--sweep latent window patch] [--alexnet FILE] [--out DIR] [--json]

DATASET is a folder laid out as NanoTWICE, MVTec AD or train_good/test/mask, or the word
"nanofibres" for generated images. Each training that is done is kept in DIR with its scores: the
same command goes on where it was stopped.

Every system is scored with its own residual, without smoothing, as in the paper.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from napari_ssim_defects import DefectModel, InputError, TrainingConfig, train
from napari_ssim_defects.core.config import SSIMResidual
from napari_ssim_defects.core.measurement import calibrate
from napari_ssim_defects.core.progress import TrainingFinished, TrainingStep
from napari_ssim_defects.io.datasets import Dataset, find_dataset
from napari_ssim_defects.io.images import read_image
from napari_ssim_defects.samples import nanofibres
from napari_ssim_defects.scale.folders import FilesEvaluated, evaluate_files
from napari_ssim_defects.terminal import Bar

SYSTEMS = ("ssim", "l2", "vae", "fmae")
SWEEPS: dict[str, list[dict[str, Any]]] = {
    "latent": [{"latent_dimension": d} for d in (50, 100, 200, 500, 1000)],
    "window": [{"ssim": {"window_size": k}} for k in (3, 7, 11, 15, 19)],
    "patch": [{"patch_size": p} for p in (32, 64, 128)],
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--preset", default="paper")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float)
    budget.add_argument("--epochs", type=int)
    parser.add_argument("--patches", type=int, help="patches per epoch")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--systems", nargs="*", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--sweep", nargs="*", choices=list(SWEEPS), default=[])
    parser.add_argument("--alexnet", type=Path, help="AlexNet's weights for fmae")
    parser.add_argument("--out", type=Path, default=Path("paper-results"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        result = run(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(result, indent=2) if options.json else table(result))
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    if options.dataset == "nanofibres":
        dataset = find_dataset(_generated(options.out / "nanofibres-images"))
    else:
        dataset = find_dataset(options.dataset)
    folder = options.out / Path(options.dataset).name
    folder.mkdir(parents=True, exist_ok=True)
    changes: dict[str, Any] = {"seed": options.seed}
    names = ("minutes", "epochs", "patches", "batch_size", "learning_rate")
    changes |= {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    if options.epochs is not None:
        changes["minutes"] = None
    wanted = [(system, {}) for system in options.systems]
    wanted += [("ssim", change) for name in options.sweep for change in SWEEPS[name]]
    runs = []
    for system, change in wanted:
        config = _config(options.preset, system, {**changes, **change})
        row = {"system": system, "change": change}
        try:
            runs.append({**row, **_scored(dataset, config, folder, options.alexnet)})
        except InputError as error:  # no weights, or images smaller than the patches
            runs.append({**row, "not_run": str(error)})
    return {"dataset": str(options.dataset), "layout": dataset.layout, "preset": options.preset,
            "changes": changes, "runs": runs}  # fmt: skip


def _config(preset: str, system: str, changes: dict[str, Any]) -> TrainingConfig:
    config = TrainingConfig.preset(preset, system=system, **changes)
    if system == "ssim":  # the window that is trained with, alone and unsmoothed
        return config.replace(residual=SSIMResidual(ssim=(config.ssim,)))
    return config


def _scored(
    dataset: Dataset, config: TrainingConfig, folder: Path, alexnet: Path | None
) -> dict[str, Any]:
    """Train and score, or read what an earlier run left."""
    identity = json.dumps([config.model_dump(mode="json"), [str(p) for p in dataset.good]])
    stem = f"{config.system}-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"
    scores_file, model_file = folder / f"{stem}.json", folder / f"{stem}.safetensors"
    if scores_file.exists():
        scores: dict[str, Any] = json.loads(scores_file.read_text("utf-8"))
        return scores
    if model_file.exists():
        model = DefectModel.load(model_file)
    else:
        model = _trained(dataset, config, alexnet)
        model.save(model_file)
    with Bar(f"testing {config.system}") as bar:
        for message in evaluate_files(model, dataset.test, dataset.masks):
            if isinstance(message, FilesEvaluated):
                found = message
            else:
                bar.show(message.fraction, message.path.name)
    evaluation = found.evaluation
    assert evaluation.confusion is not None
    scores = {
        "pixel_auroc": evaluation.auroc,
        "pixel_auprc": evaluation.auprc,
        "aupro": evaluation.aupro,
        "overlap_at_fpr_0.05": {str(q): v for q, v in evaluation.overlap_quantiles.items()},
        "iou": evaluation.confusion.iou,
        "steps": model.history[-1].step,
        "seconds": float(model.provenance["training seconds"]),
        "seconds_per_image": found.seconds_per_image,
    }
    temporary = scores_file.with_suffix(".part")
    temporary.write_text(json.dumps(scores), "utf-8")
    temporary.replace(scores_file)
    return scores


def _trained(dataset: Dataset, config: TrainingConfig, alexnet: Path | None) -> DefectModel:
    images = [read_image(path) for path in dataset.good]
    axis = images[0].channel_axis
    with Bar(f"training {config.system}") as bar:
        for message in train(
            [image.data for image in images], config, channel_axis=axis,
            names=[str(path) for path in dataset.good], alexnet=alexnet,
        ):  # fmt: skip
            if isinstance(message, TrainingStep):
                bar.show(message.fraction, f"loss {message.loss:.4f}")
    assert isinstance(message, TrainingFinished)
    if not dataset.validation:
        return message.model
    held_out = [read_image(path).data for path in dataset.validation]
    steps = calibrate(message.model, held_out, channel_axis=axis)
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return finished.value


def _generated(folder: Path) -> Path:
    """Four good nanofibre images and five defective ones, always the same."""
    for name in ("train_good", "test", "mask"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for seed in (1, 2, 3, 4, 101, 102, 103, 104, 105):
        kind = "test" if seed > 100 else "train_good"
        path = folder / kind / f"{seed}.png"
        if not path.exists():
            sample = nanofibres(seed, defects=seed > 100)
            if seed > 100:
                mask = Image.fromarray((255 * (sample.labels > 0)).astype(np.uint8))
                mask.save(folder / "mask" / path.name)
            Image.fromarray(sample.image).save(path)
    return folder


def table(result: dict[str, Any]) -> str:
    lines = ["| system | pixel AUROC | AUPRC | AUPRO | overlap at FPR .05: quartiles | steps |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for row in result["runs"]:
        change = ", ".join(
            f"{n} {v['window_size'] if isinstance(v, dict) else v}"
            for n, v in row["change"].items()
        )
        name = f"{row['system']} ({change})" if change else row["system"]
        if "not_run" in row:
            lines.append(f"| {name} | not run: {row['not_run']} | | | | |")
            continue
        overlaps = ", ".join(f"{v:.2f}" for v in row["overlap_at_fpr_0.05"].values())
        lines.append(
            f"| {name} | {row['pixel_auroc']:.3f} | {row['pixel_auprc']:.3f} | "
            f"{row['aupro']:.3f} | {overlaps} | {row['steps']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())

"""How many patches the paper's network needs: AUROC on NanoTWICE over patches seen.

python benchmarks/paper_curve.py DATASET [--system ssim] [--patches 4000000] [--every 4]
    [--score-only] [--out DIR] [--json]

trains preset "paper" and keeps the network at marks along the way; each is then scored by its own
residual at stride 30, without smoothing, on every K-th test image. What is done is kept in DIR: the
same command goes on where it was stopped. With --forms, the last network is scored with other
windows and constants of SSIM and other strides, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

import numpy as np
from experiments import kept, open_dataset, printed

from napari_ssim_defects import TrainingConfig, train
from napari_ssim_defects.cli.terminal import Bar
from napari_ssim_defects.core.common.device import choose_device, to_device
from napari_ssim_defects.core.common.progress import drained
from napari_ssim_defects.core.config import FeatureNetwork, SSIMConfig, SSIMResidual
from napari_ssim_defects.core.detection.predictions import predict_plane
from napari_ssim_defects.core.detection.residual import score_plane
from napari_ssim_defects.core.evaluation.scores import Evaluator
from napari_ssim_defects.core.images.intensity import IntensityRange
from napari_ssim_defects.core.networks.autoencoder import Autoencoder
from napari_ssim_defects.core.training.checkpoint import load_arrays
from napari_ssim_defects.core.training.messages import (
    TrainingCheckpoint,
    TrainingFinished,
    TrainingStep,
)
from napari_ssim_defects.io.artifacts.checkpoint_file import read_checkpoint, write_checkpoint
from napari_ssim_defects.io.files.safetensors_file import read_safetensors, write_safetensors
from napari_ssim_defects.io.images.datasets import Dataset
from napari_ssim_defects.io.images.image_file import read_image, read_mask

MARKS = (10, 20, 40, 60, 80, 100, 150, 200, 300, 400, 500, 600, 800, 1000, 1500, 2000, 3000, 4000)
"""Thousands of patches after which the network is kept."""

FORMS: dict[str, tuple[SSIMConfig, int]] = {
    "uniform window, standard constants, stride 30": (SSIMConfig(), 30),
    "Gaussian window": (SSIMConfig(window="gaussian"), 30),
    "uniform window of 7": (SSIMConfig(window_size=7), 30),
    "constants as printed": (SSIMConfig(constants="paper"), 30),
    "Gaussian window, constants as printed": (
        SSIMConfig(window="gaussian", constants="paper"), 30),
    "stride 16": (SSIMConfig(), 16),
    "stride 64": (SSIMConfig(), 64),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--system", default="ssim", choices=("ssim", "l2", "vae", "fmae"))
    parser.add_argument("--patches", type=int, default=4_000_000, help="to stop after")
    parser.add_argument("--every", type=int, default=4, help="score each K-th test image")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--features", choices=get_args(FeatureNetwork), default="alexnet")
    parser.add_argument("--alexnet", type=Path)
    parser.add_argument("--score-only", action="store_true")
    parser.add_argument("--forms", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("paper-curve"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    return printed(run, options, table)


def run(options: argparse.Namespace) -> dict[str, Any]:
    dataset = open_dataset(options.dataset, options.out)
    config = TrainingConfig.preset(
        "paper",
        system=options.system,
        seed=options.seed,
        feature_network=options.features,
    )
    folder = options.out / options.system
    folder.mkdir(parents=True, exist_ok=True)
    if not options.score_only:
        _train(dataset, config, options.patches, folder, options.alexnet)
    curve = []
    for file in sorted(folder.glob("net-*.safetensors")):
        scores = kept(
            file.with_suffix(f".every{options.every}.json"),
            lambda file=file: _scores(dataset, config, file, options.every),  # type: ignore[misc]
        )
        curve.append({"patches": int(file.stem.split("-")[1]), **scores})
    forms = {}
    if options.forms and curve:
        for name, (ssim, stride) in FORMS.items():
            changed = config.replace(residual=SSIMResidual(ssim=(ssim,)), stride=stride)
            forms[name] = _scores(dataset, changed, file, options.every)
    return {"system": options.system, "every": options.every, "curve": curve, "forms": forms}


def _train(
    dataset: Dataset, config: TrainingConfig, patches: int, folder: Path, alexnet: Path | None
) -> None:
    """Train until so many patches were seen, keeping the network at the marks."""
    checkpoint = folder / "checkpoint.safetensors"
    state = read_checkpoint(checkpoint) if checkpoint.exists() else None
    if state is not None and state.loop_state.seen >= patches:
        return
    images = [read_image(path) for path in dataset.good]
    with Bar(f"training {config.system}") as bar:
        for message in train(
            [image.data for image in images], config, state=state, alexnet=alexnet,
            channel_axis=images[0].channel_axis,
        ):  # fmt: skip
            if isinstance(message, TrainingStep):
                bar.show(message.fraction, f"loss {message.loss:.4f}")
            elif isinstance(message, TrainingCheckpoint):
                write_checkpoint(message.state, checkpoint)
                seen = message.state.loop_state.seen
                mark = max((1000 * mark for mark in MARKS if 1000 * mark <= seen), default=0)
                file = folder / f"net-{mark:08d}.safetensors"
                if mark and not file.exists():
                    write_safetensors(file, message.state.network, {"seen": str(seen)})
                if seen >= patches:
                    return
            elif isinstance(message, TrainingFinished):
                message.model.save(folder / "model.safetensors")


def _scores(dataset: Dataset, config: TrainingConfig, file: Path, every: int) -> dict[str, Any]:
    device = choose_device()
    good = [read_image(path) for path in dataset.good]
    intensity = IntensityRange.from_planes(
        [image.data[np.newaxis] for image in good], config.intensity_percentiles
    )
    arrays, metadata = read_safetensors(file)
    network = Autoencoder.from_config(config, 1)
    load_arrays(network, arrays)
    network = to_device(network, device).eval()
    evaluator = Evaluator()
    tests = list(zip(dataset.test, dataset.masks, strict=True))[::every]
    with Bar(f"scoring {file.stem}") as bar:
        for number, (path, mask) in enumerate(tests):
            plane = intensity.normalise(
                read_image(path).data[np.newaxis].astype(np.float32), path.name
            )
            found = drained(
                predict_plane(network, plane, config, config.stride, device, [config.residual])
            )
            truth = np.zeros(plane.shape[1:], bool)
            if mask is not None:
                truth = read_mask(mask, plane.shape[1:])
            evaluator.add(score_plane(plane, found, config.residual), truth)
            bar.show((number + 1) / len(tests), path.name)
    evaluation = evaluator.result()
    return {
        "seen": int(metadata["seen"]),
        "pixel_auroc": evaluation.auroc,
        "aupro": evaluation.aupro,
        "overlap_at_fpr_0.05": {str(q): v for q, v in evaluation.overlap_quantiles.items()},
        "images": len(tests),
    }


def table(result: dict[str, Any]) -> str:
    lines = [
        "| patches seen | AUROC | AUPRO | overlap at FPR .05: quartiles |",
        "|---|---|---|---|",
    ]
    rows = [(f"{row['seen']:,}", row) for row in result["curve"]] + list(result["forms"].items())
    for name, row in rows:
        overlaps = ", ".join(f"{v:.2f}" for v in row["overlap_at_fpr_0.05"].values())
        lines.append(f"| {name} | {row['pixel_auroc']:.3f} | {row['aupro']:.3f} | {overlaps} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())

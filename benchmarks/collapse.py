"""Does training collapse to a flat picture? Ten seeds on each material.

python benchmarks/collapse.py [MATERIAL...] [--seeds 10] [--steps N | --minutes 0.5]
    [--preset quick] [--json]

A material is `nanofibres` (default), `brick`, `grass`, `gravel` (scikit-image's), or a folder of
good images. A training has collapsed when what it redraws is flat: smoothed by 8 px it varies less
than a tenth as much as the patches. Beside that: how many models carry the warning that they have
not learned, as what they redraw has hardly less loss than flat grey. Collapsed ones carry it too.
With a number of steps, what else runs on the machine does not matter.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_ssim_defects import TrainingConfig, train
from napari_ssim_defects.core.common.progress import CalibrationProgress
from napari_ssim_defects.core.training.messages import TrainingNotice, TrainingPreview, TrainingStep
from napari_ssim_defects.io.images.image_file import find_images, read_image
from napari_ssim_defects.samples import nanofibres

SCIKIT_IMAGE = ("brick", "grass", "gravel")


def images_of(material: str) -> list[Any]:
    if material == "nanofibres":
        return [nanofibres(seed).image for seed in (1, 2, 3, 4)]
    if material in SCIKIT_IMAGE:
        from skimage import data

        return [getattr(data, material)()]
    return [read_image(path).data for path in find_images([material])]


def variation(patches: npt.NDArray[np.float32]) -> float:
    """How much patches (N, C, P, P) vary within themselves, but for what is smaller than 8 px."""
    n, c, side, _ = patches.shape
    smooth = patches.reshape(n, c, side // 8, 8, side // 8, 8).mean(axis=(3, 5))
    return float(smooth.std(axis=(2, 3)).mean())


def run(images: list[Any], config: TrainingConfig) -> dict[str, Any]:
    """Train, and say how that went; what is measured after the training is left out."""
    notices, losses, steps, contrast = [], [], 0, 0.0
    messages = train(images, config)
    for message in messages:
        if isinstance(message, TrainingNotice):
            notices.append(message.text)
        elif isinstance(message, TrainingStep):
            steps = message.step
            losses.append(message.validation_loss or message.loss)
        elif isinstance(message, TrainingPreview):
            contrast = variation(message.reconstructions) / variation(message.patches)
        elif isinstance(message, CalibrationProgress):
            messages.close()
    return {
        "seed": config.seed,
        "loss": min(losses),
        "steps": steps,
        "contrast": contrast,
        "collapsed": not contrast >= 0.1,
        "warned": any("did not learn" in notice for notice in notices),
        "notices": notices,
    }


def recipe(options: argparse.Namespace, seed: int) -> TrainingConfig:
    if options.steps is None:
        return TrainingConfig.preset(options.preset, seed=seed, minutes=options.minutes)
    config = TrainingConfig.preset(options.preset, seed=seed, minutes=None, epochs=1)
    return config.replace(patches=options.steps * config.batch_size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("materials", nargs="*", default=["nanofibres"], metavar="MATERIAL")
    parser.add_argument("--seeds", type=int, default=10)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=0.5)
    length.add_argument("--steps", type=int)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for material in options.materials:
        images = images_of(material)
        runs = []
        for seed in range(options.seeds):
            config = recipe(options, seed)
            runs.append(run(images, config))
            print(material, runs[-1], file=sys.stderr, flush=True)
        results.append(
            {
                "material": Path(material).name,
                "collapsed": sum(run["collapsed"] for run in runs),
                "warned": sum(run["warned"] for run in runs),
                "worst_loss": max(run["loss"] for run in runs),
                "runs": runs,
            }
        )
    if options.json:
        length = {"steps": options.steps} if options.steps else {"minutes": options.minutes}
        result = {"preset": options.preset, **length, "materials": results}
        print(json.dumps(result, indent=2))
        return
    for result in results:
        print(
            f"{result['material']}: {result['collapsed']} of {options.seeds} collapsed, "
            f"{result['warned']} with a warning; worst loss {result['worst_loss']:.3f}"
        )


if __name__ == "__main__":
    main()

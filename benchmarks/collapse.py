"""Does training collapse to a flat picture? Ten seeds on each material.

python benchmarks/collapse.py [MATERIAL...] [--seeds 10] [--minutes 0.5] [--preset quick] [--json]

A material is `nanofibres` (default), `brick`, `grass`, `gravel` (scikit-image's), or a folder of
good images. A training has collapsed when its model carries the warning that it did not learn:
what it redraws has hardly less loss than flat grey.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from napari_ssim_defects import TrainingConfig, train
from napari_ssim_defects.core.progress import TrainingFinished, TrainingNotice
from napari_ssim_defects.io.images import find_images, read_image
from napari_ssim_defects.samples import nanofibres

SCIKIT_IMAGE = ("brick", "grass", "gravel")


def images_of(material: str) -> list[Any]:
    if material == "nanofibres":
        return [nanofibres(seed).image for seed in (1, 2, 3, 4)]
    if material in SCIKIT_IMAGE:
        from skimage import data

        return [getattr(data, material)()]
    return [read_image(path).data for path in find_images([material])]


def run(images: list[Any], config: TrainingConfig) -> dict[str, Any]:
    notices = []
    for message in train(images, config):
        if isinstance(message, TrainingNotice):
            notices.append(message.text)
    assert isinstance(message, TrainingFinished)
    history = message.model.history
    losses = [entry.validation_loss or entry.loss for entry in history]
    return {
        "seed": config.seed,
        "loss": min(losses, default=None),
        "steps": history[-1].step if history else 0,
        "collapsed": bool(message.model.warnings),
        "notices": notices,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("materials", nargs="*", default=["nanofibres"], metavar="MATERIAL")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for material in options.materials:
        images = images_of(material)
        runs = []
        for seed in range(options.seeds):
            config = TrainingConfig.preset(options.preset, seed=seed, minutes=options.minutes)
            runs.append(run(images, config))
            print(material, runs[-1], file=sys.stderr, flush=True)
        results.append(
            {
                "material": Path(material).name,
                "collapsed": sum(run["collapsed"] for run in runs),
                "worst_loss": max(run["loss"] for run in runs),
                "runs": runs,
            }
        )
    if options.json:
        settings = {"preset": options.preset, "minutes": options.minutes}
        print(json.dumps({**settings, "materials": results}, indent=2))
        return
    for result in results:
        print(
            f"{result['material']}: {result['collapsed']} of {options.seeds} collapsed; "
            f"worst loss {result['worst_loss']:.3f}"
        )


if __name__ == "__main__":
    main()

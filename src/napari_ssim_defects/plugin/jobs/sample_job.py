"""The background job that draws the sample images, which takes seconds."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .jobs import Fraction

__all__ = ["LayerData", "SampleDrawn", "draw_nanofibres"]

LayerData = tuple[Any, dict[str, Any], str]
"""What napari makes a layer of."""

# One pixel of the paper's micrographs is a few tens of nanometres wide.
_PLACE = {"scale": (0.05, 0.05), "units": ("um", "um"), "axis_labels": ("y", "x")}
_STACK = {
    "name": "nanofibres good",
    "scale": (1, *_PLACE["scale"]),
    "units": ("pixel", *_PLACE["units"]),
    "axis_labels": ("image", *_PLACE["axis_labels"]),
}


@dataclass(frozen=True, slots=True, eq=False)
class SampleDrawn:
    """The layers of the sample: good images, defective ones, and where their defects are."""

    layers: tuple[LayerData, ...]


def draw_nanofibres() -> Generator[Fraction | SampleDrawn, None, None]:
    """Draw a stack of good micrographs of nanofibres, and defective ones with their truth."""
    from ...samples import DEFECTIVE_SEEDS, GOOD_SEEDS, nanofibres

    count = len(GOOD_SEEDS) + len(DEFECTIVE_SEEDS)
    good = []
    for number, seed in enumerate(GOOD_SEEDS, start=1):
        good.append(nanofibres(seed).image)
        yield Fraction(number / count)
    layers: list[LayerData] = [(np.stack(good), _STACK, "image")]
    for number, seed in enumerate(DEFECTIVE_SEEDS, start=1):
        sample = nanofibres(seed, defects=True)
        image = {"name": f"nanofibres defective {number}", **_PLACE}
        truth = {"name": f"nanofibres truth {number}", "visible": False, **_PLACE}
        layers += [(sample.image, image, "image"), (sample.labels, truth, "labels")]
        yield Fraction((len(good) + number) / count)
    yield SampleDrawn(tuple(layers))

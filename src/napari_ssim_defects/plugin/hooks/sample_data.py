"""File > Open Sample: images whose defects are known to the pixel."""

from __future__ import annotations

from typing import Any

from ...samples import checkerboard, nanofibres, painted_texture

__all__ = ["checkerboard_layers", "gravel_layers", "nanofibre_layers"]

_LayerData = tuple[Any, dict[str, Any], str]

# One pixel of the paper's micrographs is a few tens of nanometres wide.
_NANOFIBRES = {"scale": (0.05, 0.05), "units": ("um", "um"), "axis_labels": ("y", "x")}


def nanofibre_layers() -> list[_LayerData]:
    """Two good micrographs of nanofibres, a defective one, and where its defects are."""
    layers: list[_LayerData] = [
        (nanofibres(seed).image, {"name": f"nanofibres good {seed}", **_NANOFIBRES}, "image")
        for seed in (1, 2)
    ]
    defective = nanofibres(3, defects=True)
    truth = {"name": "nanofibres truth", "visible": False, **_NANOFIBRES}
    return [
        *layers,
        (defective.image, {"name": "nanofibres defective", **_NANOFIBRES}, "image"),
        (defective.labels, truth, "labels"),
    ]


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

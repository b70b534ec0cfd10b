"""File > Open Sample: images whose defects are known to the pixel."""

from __future__ import annotations

from ...samples import checkerboard, painted_texture
from ..jobs.sample_job import LayerData, SampleDrawn, draw_nanofibres

__all__ = ["checkerboard_layers", "gravel_layers", "nanofibre_layers"]


def nanofibre_layers() -> list[LayerData]:
    """A stack of good micrographs of nanofibres, defective ones, and where their defects are."""
    *_, drawn = draw_nanofibres()
    assert isinstance(drawn, SampleDrawn)
    return list(drawn.layers)


def checkerboard_layers() -> list[LayerData]:
    """The toy of the paper's figure 2: a good board, one with strokes, and the strokes."""
    good, defective = checkerboard(seed=1, defects=False), checkerboard()
    return [
        (good.image, {"name": "checkerboard good"}, "image"),
        (defective.image, {"name": "checkerboard with strokes"}, "image"),
        (defective.labels, {"name": "checkerboard truth", "visible": False}, "labels"),
    ]


def gravel_layers() -> list[LayerData]:
    """A photograph of gravel: a good part, one with painted defects, and the defects."""
    sample = painted_texture("gravel")
    return [
        (sample.good, {"name": "gravel good"}, "image"),
        (sample.image, {"name": "gravel with defects"}, "image"),
        (sample.labels, {"name": "gravel truth", "visible": False}, "labels"),
    ]

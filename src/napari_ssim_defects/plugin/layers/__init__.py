"""Layers of the viewer: how they are made, identified, and turned into arrays again."""

from __future__ import annotations

from .build import (
    new_heatmap,
    new_image,
    new_labels,
    new_preview,
    new_reconstruction,
    show_growth,
    show_threshold,
    show_verdicts,
    update_heatmap,
    update_labels,
)
from .derived import (
    created_labels,
    find_derived,
    image_key,
    is_committed,
    is_heatmap,
    is_inspectable,
    is_mask,
    is_painted,
    marks_on,
    set_visible,
    source_name,
)
from .large import large_labels, large_residual, refuse_large
from .spatial import Source, source_of

__all__ = [
    "Source",
    "created_labels",
    "find_derived",
    "image_key",
    "is_committed",
    "is_heatmap",
    "is_inspectable",
    "is_mask",
    "is_painted",
    "large_labels",
    "large_residual",
    "marks_on",
    "new_heatmap",
    "new_image",
    "new_labels",
    "new_preview",
    "new_reconstruction",
    "refuse_large",
    "set_visible",
    "show_growth",
    "show_threshold",
    "show_verdicts",
    "source_name",
    "source_of",
    "update_heatmap",
    "update_labels",
]

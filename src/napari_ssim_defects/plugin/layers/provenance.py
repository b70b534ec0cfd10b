"""Where a derived layer came from: kept in its metadata, with the model that made it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Layer

from ...core.config.residual_kinds import RESIDUAL_NAMES, parts

if TYPE_CHECKING:
    from ...core.images.inspected_area import InspectedArea
    from ...core.model.defect_model import DefectModel
    from ..state.panel_state import SessionModel

__all__ = [
    "PROVENANCE",
    "inspected_area",
    "inspected_values",
    "is_by",
    "made_by",
    "model_details",
    "model_origin",
    "model_settings",
    "provenance",
    "update_provenance",
]

PROVENANCE = "napari-ssim-defects"
"""Key of ``layer.metadata`` that holds the provenance of a derived layer."""


def provenance(layer: Layer) -> dict[str, Any]:
    """Return the provenance of a derived layer; empty for any other layer."""
    value = layer.metadata.get(PROVENANCE, {})
    return value if isinstance(value, dict) else {}


def inspected_area(heatmap: Layer) -> InspectedArea | None:
    """Return the pixels of a heatmap that were inspected; None: all."""
    area: InspectedArea | None = provenance(heatmap).get("area")
    return area


def inspected_values(heatmap: Layer) -> npt.NDArray[np.float32]:
    """Return the residual of a heatmap in memory, float32; NaN where it was not inspected."""
    values, area = np.asarray(heatmap.data, np.float32), inspected_area(heatmap)
    return values if area is None else np.where(area.mask(), values, np.float32(np.nan))


def is_by(model: DefectModel | None, layer: Layer) -> bool:
    """Whether a model has made a layer; of none it is not known, and counts as yes."""
    made = provenance(layer).get("model_created", "")
    return model is None or model.provenance.get("created", "") == made


def made_by(layer: Layer, models: Iterable[SessionModel]) -> str:
    """Return what the model that made a layer is called now; it may have been saved since."""
    origin = provenance(layer)
    created, name = origin.get("model_created", ""), str(origin.get("model", ""))
    names = [each.name for each in models if each.model.provenance.get("created", "") == created]
    return name if not created or not names or name in names else names[-1]


def update_provenance(layer: Layer, **values: Any) -> None:
    """Update the provenance of a derived layer."""
    layer.metadata = {**layer.metadata, PROVENANCE: {**provenance(layer), **values}}


def model_origin(model: DefectModel, name: str, stride: int | None) -> dict[str, Any]:
    """Return the provenance of a model, for layers that it made."""
    return {
        "model": name,
        "model_created": model.provenance.get("created", ""),
        "training_images": model.provenance.get("training images", ""),
        "system": model.config.system,
        "preset": model.config.name,
        "stride": stride or model.config.stride,
        "detected": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "auto_threshold": model.auto_threshold,
        "calibration": model.corrected.calibration,
        "contrast_limits": model.contrast_limits,
    }


def model_details(model: DefectModel) -> str:
    """Say in one line what a model was trained on, without folders, and when."""
    images = re.sub(r"'[^']*[/\\]", "'", model.provenance.get("training images", ""))
    created = model.provenance.get("created", "")[:10]
    return "; ".join(filter(None, (f"trained on {images}" if images else "", created)))


def model_settings(model: DefectModel) -> str:
    """Say what a model judges by, and what images it takes."""
    judges = " and ".join(RESIDUAL_NAMES[part.kind] for part in parts(model.config.residual))
    kind = {1: "grey", 3: "RGB"}.get(model.channels, f"{model.channels} channels")
    return f"Scored by {judges}; {kind}, patches of {model.config.patch_size} px."

"""Find defects in images with an SSIM autoencoder that has only seen good ones.

The names below are loaded on first use: importing the package imports neither torch nor Qt.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .core.common.errors import InputError
    from .core.config import SegmentationConfig, TrainingConfig
    from .core.model.correct import correct
    from .core.model.defect_model import DefectModel
    from .core.segmentation.segment import segment
    from .core.training.train import train

    __version__: str

__all__ = [
    "DefectModel",
    "InputError",
    "SegmentationConfig",
    "TrainingConfig",
    "__version__",
    "correct",
    "segment",
    "train",
]

_HOMES = {
    "DefectModel": ".core.model.defect_model",
    "InputError": ".core.common.errors",
    "SegmentationConfig": ".core.config",
    "TrainingConfig": ".core.config",
    "correct": ".core.model.correct",
    "segment": ".core.segmentation.segment",
    "train": ".core.training.train",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = version("napari-ssim-defects")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name], __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Every setting, as frozen, serialisable models."""

from __future__ import annotations

from ..common.frozen_model import Shown, describe, shown
from .residual_kinds import (
    DiscriminatorResidual,
    EnsembleMember,
    EnsembleResidual,
    FeaturesResidual,
    ReconstructionProbabilityResidual,
    ReconstructionResidual,
    ResidualConfig,
    ResidualKind,
    SquaredErrorResidual,
    SSIMConfig,
    SSIMResidual,
    TextureResidual,
)
from .settings import (
    AugmentationConfig,
    FeatureNetwork,
    ImageFormat,
    OutputConfig,
    OutputKind,
    SegmentationConfig,
    System,
    TrainingConfig,
)

__all__ = [
    "AugmentationConfig",
    "DiscriminatorResidual",
    "EnsembleMember",
    "EnsembleResidual",
    "FeatureNetwork",
    "FeaturesResidual",
    "ImageFormat",
    "OutputConfig",
    "OutputKind",
    "ReconstructionProbabilityResidual",
    "ReconstructionResidual",
    "ResidualConfig",
    "ResidualKind",
    "SSIMConfig",
    "SSIMResidual",
    "SegmentationConfig",
    "Shown",
    "SquaredErrorResidual",
    "System",
    "TextureResidual",
    "TrainingConfig",
    "describe",
    "shown",
]

"""Every setting, as frozen, serialisable models."""

from __future__ import annotations

from .settings import (
    AugmentationConfig,
    DiscriminatorResidual,
    FeaturesResidual,
    RarityResidual,
    RarityView,
    ReconstructionProbabilityResidual,
    ReconstructionResidual,
    ResidualConfig,
    ResidualKind,
    SegmentationConfig,
    SquaredErrorResidual,
    SSIMConfig,
    SSIMResidual,
    System,
    TextureResidual,
    TrainingConfig,
    describe,
)

__all__ = [
    "AugmentationConfig",
    "DiscriminatorResidual",
    "FeaturesResidual",
    "RarityResidual",
    "RarityView",
    "ReconstructionProbabilityResidual",
    "ReconstructionResidual",
    "ResidualConfig",
    "ResidualKind",
    "SSIMConfig",
    "SSIMResidual",
    "SegmentationConfig",
    "SquaredErrorResidual",
    "System",
    "TextureResidual",
    "TrainingConfig",
    "describe",
]

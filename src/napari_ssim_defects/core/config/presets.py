"""Named configs, as plain values."""

from __future__ import annotations

from typing import Any

from .residual_kinds import (
    DiscriminatorResidual,
    EnsembleMember,
    EnsembleResidual,
    FeaturesResidual,
    SSIMConfig,
    SSIMResidual,
    TextureResidual,
)

__all__ = ["PRESETS", "SSIM_ONLY"]

# Minutes instead of hours: small patches in small batches leave the plateau of the SSIM loss
# soonest (benchmarks/EXPERIMENTS.md).
_BRIEF: dict[str, Any] = {
    "patch_size": 64,
    "squared_error_weight": 5.0,  # with SSIM alone the reconstruction stays flat grey
    "latent_dimension": 128,  # per pixel as many as the paper's best, 500 for 128 x 128
    "restoration": True,
    "reconstruction_interval": 4,
    "learning_rate": 1e-3,
    "batch_size": 4,  # squares of 16 patches in all
    "discriminator": True,
    "features": True,
    "texture": True,
    "augmentation": {"symmetries": True},
    "patches": 1000,
    "residual": EnsembleResidual(
        members=(
            EnsembleMember(residual=FeaturesResidual(smoothing=4.0)),
            EnsembleMember(residual=DiscriminatorResidual(smoothing=2.0)),
            EnsembleMember(residual=TextureResidual(smoothing=2.0)),
            EnsembleMember(
                residual=SSIMResidual(
                    ssim=(
                        SSIMConfig(window_size=11, constants="paper"),
                        SSIMConfig(window_size=21, constants="paper"),
                    ),
                    smoothing=4.0,
                )
            ),
        )
    ),
}

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        **_BRIEF,
        "epochs": 4,
    },
    "best": {
        **_BRIEF,
        "epochs": 16,
    },
    "paper": {
        "batch_norm": False,
        "batch_size": 128,
        "patches": 20_000,
        "fixed_patches": True,
        "epochs": 200,
        "learning_rate": 2e-4,
        "schedule": "constant",
        "validation": 0.0,
        "stride": 30,
    },
}
"""Values of `TrainingConfig` that differ from its defaults, by the name of the preset."""

SSIM_ONLY = (
    "residual",
    "restoration",
    "discriminator",
    "reconstruction_interval",
    "features",
    "texture",
    "augmentation",
    "patches",
    "batch_size",
)
"""What a preset has for system ``ssim`` only; the others keep the defaults of `TrainingConfig`."""

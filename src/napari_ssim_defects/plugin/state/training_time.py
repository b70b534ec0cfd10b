"""How long trainings take, on this computer once one was made on it."""

from __future__ import annotations

from ...core.config import TrainingConfig

__all__ = ["expected_minutes", "pace_of", "spelled"]

# Two processor cores with AVX2 and a dozen images of a megapixel.
_STEP = 0.14  # seconds, with a discriminator
_PATCHES = 65.0  # of 128 x 128 pixels a second, without one
_AROUND = 38.0  # seconds before and after the steps


def expected_minutes(config: TrainingConfig, pace: float | None) -> float:
    """Estimate the minutes of a training; ``pace``: of this computer, see `pace_of`."""
    seconds = (pace or 1.0) * _step(config) * _steps(config)
    if config.minutes is not None:
        seconds = min(seconds, 60 * config.minutes)
    return (seconds + (pace or 1.0) * _AROUND) / 60


def pace_of(config: TrainingConfig, steps: int, seconds: float) -> float:
    """Return the ratio of the time of these steps to that on two cores.

    Examples
    --------
    >>> round(pace_of(TrainingConfig.preset("quick"), 100, 28.0), 3)
    2.0
    """
    return seconds / (steps * _step(config))


def spelled(minutes: float) -> str:
    """Write a time down, no more exactly than it is known.

    Examples
    --------
    >>> spelled(0.4), spelled(3.2), spelled(38), spelled(1030)
    ('1 min', '3 min', '40 min', '17 h')
    """
    if minutes < 10:
        return f"{max(1, round(minutes))} min"
    return f"{5 * round(minutes / 5)} min" if minutes < 90 else f"{round(minutes / 60)} h"


def _steps(config: TrainingConfig) -> int:
    return max(1, config.patches * config.epochs // config.batch_size)


def _step(config: TrainingConfig) -> float:
    if config.discriminator:
        return _STEP * config.batch_size / 4
    return config.batch_size * (config.patch_size / 128) ** 2 / _PATCHES

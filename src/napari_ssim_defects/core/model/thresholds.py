"""Policies for a threshold from good images alone (paper section 4.1), as frozen models."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ..common.array_checks import short_text
from ..common.errors import InputError
from ..common.frozen_model import FrozenModel

if TYPE_CHECKING:
    from .calibration import Calibration

__all__ = [
    "FalsePositiveRateThreshold",
    "FalseRegionsThreshold",
    "FixedThreshold",
    "LargestRegionThreshold",
    "QuantileThreshold",
    "ThresholdPolicy",
    "parse_threshold",
]


class FixedThreshold(FrozenModel):
    """A residual that a person chose."""

    kind: Literal["fixed"] = "fixed"
    value: float

    def threshold_for(self, calibration: Calibration) -> float:
        """Return the value."""
        return self.value

    def __str__(self) -> str:
        return repr(self.value)


class FalsePositiveRateThreshold(FrozenModel):
    """The residual that a fraction ``rate`` of the defect-free pixels exceeds, as in the paper."""

    kind: Literal["false_positive_rate"] = "false_positive_rate"
    rate: Annotated[float, Field(ge=0, le=1)] = 0.001

    def threshold_for(self, calibration: Calibration) -> float:
        """Return the threshold by the calibration on defect-free images."""
        return calibration.threshold(self.rate)

    def __str__(self) -> str:
        return f"fpr:{self.rate!r}"


class QuantileThreshold(FrozenModel):
    """A quantile of the residuals of defect-free pixels."""

    kind: Literal["quantile"] = "quantile"
    quantile: Annotated[float, Field(ge=0, le=1)] = 0.999

    def threshold_for(self, calibration: Calibration) -> float:
        """Return the threshold by the calibration on defect-free images."""
        return calibration.threshold(1 - self.quantile)

    def __str__(self) -> str:
        return f"quantile:{self.quantile!r}"


class LargestRegionThreshold(FrozenModel):
    """The residual above which every defect-free region has fewer than ``area`` pixels."""

    kind: Literal["largest_region"] = "largest_region"
    area: Annotated[int, Field(ge=1)] = 20

    def threshold_for(self, calibration: Calibration) -> float:
        """Return the threshold by the calibration on defect-free images."""
        return calibration.threshold_of_area(self.area)

    def __str__(self) -> str:
        return f"region:{self.area}"


class FalseRegionsThreshold(FrozenModel):
    """The residual at which this many regions of a good image are outlined by mistake."""

    kind: Literal["false_regions"] = "false_regions"
    per_image: Annotated[float, Field(gt=0, le=1e6)] = 1.0

    def threshold_for(self, calibration: Calibration) -> float:
        """Return the threshold by the calibration on defect-free images."""
        return calibration.threshold_of_regions(self.per_image)

    def __str__(self) -> str:
        return f"regions:{self.per_image!r}"


ThresholdPolicy = Annotated[
    FixedThreshold
    | FalsePositiveRateThreshold
    | FalseRegionsThreshold
    | QuantileThreshold
    | LargestRegionThreshold,
    Field(discriminator="kind"),
]


def parse_threshold(text: str) -> ThresholdPolicy:
    """Read a policy as the command line writes it.

    Parameters
    ----------
    text
        A number, ``regions:N`` (false regions per image), ``fpr:RATE`` (pixels), ``quantile:Q``
        or ``region:PIXELS`` (the largest good region).

    Raises
    ------
    InputError
        If it is none of them, or its number is out of range.

    Examples
    --------
    >>> parse_threshold("fpr:0.01").rate
    0.01
    >>> parse_threshold("regions:0.5").per_image
    0.5
    >>> parse_threshold("region:20").area
    20
    """
    name, _, number = text.rpartition(":")
    try:
        value = float(number)
        if name == "" and math.isfinite(value):
            return FixedThreshold(value=value)
        if name == "fpr":
            return FalsePositiveRateThreshold(rate=value)
        if name == "regions":
            return FalseRegionsThreshold(per_image=value)
        if name == "quantile":
            return QuantileThreshold(quantile=value)
        if name == "region":
            return LargestRegionThreshold(area=int(number))
    except InputError:
        raise
    except ValueError:
        pass
    raise InputError(
        f"{short_text(text)} is not a threshold; give a number, regions:N, fpr:RATE, quantile:Q or "
        "region:PIXELS."
    )

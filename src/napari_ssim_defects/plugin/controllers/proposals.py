"""Controller of the proposed thresholds, which are measured on good images."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.common.errors import InputError
from ..layers import is_heatmap, refuse_large, source_name
from ..layers.provenance import inspected_values, provenance, update_provenance
from .section import SectionController, starts_a_job

if TYPE_CHECKING:
    from ...core.model.calibration import Calibration
    from ...core.model.thresholds import ThresholdPolicy

__all__ = ["GoodMeasured", "ProposalController", "measure_good"]

_MAKER = ("model_created", "training_images", "system", "stride")


@dataclass(frozen=True, slots=True)
class GoodMeasured:
    """Residuals of a defect-free image have been measured."""

    calibration: Calibration


class ProposalController(SectionController):
    """Proposes thresholds for the heatmaps of a model (paper section 4.1)."""

    holds = ("good_layer",)

    def use_automatic(self) -> None:
        """Take the automatic threshold of the model that made the heatmap."""
        if self._state.auto_threshold is not None:
            self._state.threshold = self._state.auto_threshold

    @starts_a_job
    def propose(self, policy: ThresholdPolicy) -> None:
        """Use the threshold of a policy, and make it the automatic one.

        It is measured on the chosen defect-free heatmap, or otherwise on the calibration of the
        model. The current model remembers both if it made the heatmap.
        """
        state = self._state
        if state.heatmap is None:
            raise InputError("There is no heatmap to propose a threshold for; detect first.")
        if state.good_layer is None:
            self._take(policy, None)
            return
        refuse_large(state.good_layer, "measure thresholds on a smaller defect-free image")
        if _maker(state.good_layer) != _maker(state.heatmap):
            raise InputError(
                f"'{state.good_layer.name}' and '{state.heatmap.name}' were not made by the same "
                "model with the same stride; detect both again."
            )
        self._runner.begin(
            "measuring",
            f"Measuring '{source_name(state.good_layer)}' …",
            partial(measure_good, inspected_values(state.good_layer)),
            partial(self._on_measured, policy),
        )

    def _on_measured(self, policy: ThresholdPolicy, message: object) -> None:
        if isinstance(message, GoodMeasured) and self._state.heatmap is not None:
            self._take(policy, message.calibration)

    def follow_model(self, layer: Any) -> None:
        """Let heatmaps follow the automatic threshold of the current model, which made a layer."""
        model = self._state.model
        self._renew(layer, model.auto_threshold, model.corrected.calibration)
        self._preview.take_calibration()

    def _take(self, policy: ThresholdPolicy, measured: Calibration | None) -> None:
        """Take a policy, with what was measured on good material; None: as before."""
        state = self._state
        kept = ""
        model, origin = state.model, provenance(state.heatmap)
        if model is not None and model.provenance.get("created", "") == origin["model_created"]:
            model = replace(model, calibration=measured or model.calibration, threshold=policy)
            state.model = model
            threshold, calibration = model.auto_threshold, model.corrected.calibration
            kept = " The model keeps it; save the model to keep it permanently."
        else:
            calibration = measured or origin["calibration"]
            threshold = policy.threshold_for(calibration)
        self._renew(state.heatmap, threshold, calibration)
        self._preview.take_calibration()
        state.threshold = threshold
        share = 100 * calibration.false_positive_rate(threshold)
        regions = calibration.regions_per_image(threshold)
        self._runner.say(
            f"Threshold {threshold:.4g}: expected in a good image are at most {regions:.2g} false "
            f"region{'s' * (regions > 1.05)}, and {share:.2g} % of the pixels above.{kept}"
        )

    def _renew(self, made: Any, threshold: float, calibration: Calibration) -> None:
        """Give all heatmaps that were made like a layer another automatic threshold."""
        maker = _maker(made)
        for layer in self._viewer.layers:
            if is_heatmap(layer) and _maker(layer) == maker:
                update_provenance(layer, auto_threshold=threshold, calibration=calibration)


def measure_good(residual: npt.NDArray[np.float32]) -> Generator[GoodMeasured, None, None]:
    """Calibrate on the residual (..., H, W) of a defect-free image outside the training.

    Pixels that are NaN do not count.
    """
    from ...core.model.calibration import Calibration

    yield GoodMeasured(
        Calibration.from_residuals([np.asarray(residual, dtype=np.float32)], held_out=True)
    )


def _maker(heatmap: Any) -> tuple[Any, ...]:
    """Key of model and settings; residuals with different keys cannot be compared."""
    origin = provenance(heatmap)
    return tuple(origin.get(name, "") for name in _MAKER)

"""Buttons that propose a threshold from defect-free images."""

from __future__ import annotations

from qtpy.QtWidgets import QGridLayout, QPushButton, QVBoxLayout, QWidget

from ....core.model.thresholds import (
    FalsePositiveRateThreshold,
    FalseRegionsThreshold,
    LargestRegionThreshold,
    QuantileThreshold,
    ThresholdPolicy,
)
from ...controllers.panel_controller import Controller
from ...layers import is_heatmap
from ..widgets.fields import IntegerBox, LayerCombo, NumberBox, form
from ..widgets.lifetime import while_alive

__all__ = ["ProposalsView"]


class ProposalsView(QWidget):
    """One button per way to choose a threshold without defects, each with its number."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._state = controller.state
        self.good = LayerCombo(
            controller.viewer.layers,
            is_heatmap,
            "as measured with the model",
            "Heatmap of an image without defects to measure on; best one that was not trained on.",
        )
        self.regions = NumberBox(
            0.001, 1000, decimals=3, tip="False regions per image of good material."
        )
        self.regions.show_value(FalseRegionsThreshold().per_image)
        self.rate = NumberBox(0, 100, decimals=3, suffix=" %", tip="False positive rate.")
        self.rate.show_value(100 * FalsePositiveRateThreshold().rate)
        self.area = IntegerBox(1, 1000, suffix=" px", tip="Area that no good region reaches.")
        self.area.show_value(LargestRegionThreshold().area)
        self.quantile = NumberBox(0, 1, decimals=5, tip="Quantile of the good residuals.")
        self.quantile.show_value(QuantileThreshold().quantile)
        self.regions_button = self._button(
            "False regions per image",
            "So many regions are outlined in an image of good material, by the default settings "
            "of the outlines.",
        )
        self.rate_button = self._button(
            "False positive rate",
            "This part of the pixels of good images lies above the threshold, as in the paper.",
        )
        self.region_button = self._button(
            "Largest good region",
            "No region of a good image that lies above the threshold has this many pixels.",
        )
        self.quantile_button = self._button(
            "Quantile", "The threshold is this quantile of the residuals of good images."
        )
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        grid.setColumnStretch(0, 1)
        rows = (
            (self.regions_button, self.regions),
            (self.rate_button, self.rate),
            (self.region_button, self.area),
            (self.quantile_button, self.quantile),
        )
        for row, (button, box) in enumerate(rows):
            box.setAccessibleName(button.text())
            grid.addWidget(button, row, 0)
            grid.addWidget(box, row, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(form(("Good image", self.good)))
        layout.addLayout(grid)
        state = self._state
        self.good.chosen.connect(lambda layer: setattr(state, "good_layer", layer))
        self.regions_button.clicked.connect(
            lambda: self._propose(FalseRegionsThreshold(per_image=self.regions.value()))
        )
        self.rate_button.clicked.connect(
            lambda: self._propose(FalsePositiveRateThreshold(rate=self.rate.value() / 100))
        )
        self.region_button.clicked.connect(
            lambda: self._propose(LargestRegionThreshold(area=self.area.value()))
        )
        self.quantile_button.clicked.connect(
            lambda: self._propose(QuantileThreshold(quantile=self.quantile.value()))
        )
        for signal in (state.events.heatmap, state.events.good_layer, state.events.activity):
            signal.connect(self._show)
        self._show()

    def _button(self, text: str, explanation: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(explanation)
        return button

    def _propose(self, policy: ThresholdPolicy) -> None:
        self._controller.proposals.propose(policy)

    @while_alive
    def _show(self) -> None:
        state = self._state
        self.good.show_layer(state.good_layer)
        ready = state.heatmap is not None and not state.busy
        for button in (
            self.regions_button, self.rate_button, self.region_button, self.quantile_button,
        ):  # fmt: skip
            button.setEnabled(ready)

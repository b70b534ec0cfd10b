"""The section that turns a heatmap into regions, and proposes thresholds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ....core.config import SegmentationConfig, shown
from ....core.model.thresholds import (
    FalsePositiveRateThreshold,
    FalseRegionsThreshold,
    LargestRegionThreshold,
    QuantileThreshold,
    ThresholdPolicy,
)
from ...controllers.panel_controller import Controller
from ...layers import is_heatmap
from ..plots.threshold_slider import ThresholdSlider
from ..widgets.fields import (
    Check,
    IntegerBox,
    LayerCombo,
    NumberBox,
    Section,
    form,
    setting_field,
    while_alive,
    wrapped,
)
from ..widgets.overview_table import OverviewTable

__all__ = [
    "ProposalsView",
    "SegmentView",
]


class ProposalsView(QWidget):
    """One button per way to choose a threshold without defects, each with its number."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._state = controller.state
        self.good = LayerCombo(
            controller.viewer.layers,
            is_heatmap,
            "as measured for the model",
            "Heatmap of an image without defects to measure on; preferably one that was not "
            "trained on.",
        )
        self.regions = NumberBox(
            0.001, 1000, decimals=3, tip="False regions per image of good material."
        )
        self.regions.show_value(FalseRegionsThreshold().per_image)
        self.rate = NumberBox(
            0,
            100,
            decimals=3,
            suffix=" %",
            tip="Fraction of the good pixels that is outlined by mistake (false positive rate).",
        )
        self.rate.show_value(100 * FalsePositiveRateThreshold().rate)
        self.area = IntegerBox(
            1, 1000, suffix=" px", tip="Regions of good images are smaller than this area."
        )
        self.area.show_value(LargestRegionThreshold().area)
        self.quantile = NumberBox(
            0, 1, decimals=5, tip="Fraction of the good pixels below the threshold."
        )
        self.quantile.show_value(QuantileThreshold().quantile)
        self.buttons: dict[QWidget, QPushButton] = {}
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(4)
        self._grid.setColumnStretch(0, 1)
        self._add(
            self.regions,
            "False regions per image",
            "Number of regions that are outlined in an image of good material, with the default "
            "settings.",
            lambda number: FalseRegionsThreshold(per_image=number),
        )
        self._add(
            self.rate,
            "False positive rate",
            "Fraction of the pixels of good images that lies above the threshold, as in the paper.",
            lambda percent: FalsePositiveRateThreshold(rate=percent / 100),
        )
        self._add(
            self.area,
            "Largest good region",
            "Regions of a good image above the threshold have fewer pixels than this.",
            lambda pixels: LargestRegionThreshold(area=pixels),
        )
        self._add(
            self.quantile,
            "Quantile",
            "The threshold is this quantile of the residuals of good images.",
            lambda quantile: QuantileThreshold(quantile=quantile),
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(form(("Good image", self.good)))
        layout.addLayout(self._grid)
        state = self._state
        self.good.chosen.connect(lambda layer: setattr(state, "good_layer", layer))
        for signal in (state.events.heatmap, state.events.good_layer, state.events.activity):
            signal.connect(self._show)
        self._show()

    def _add(
        self,
        box: IntegerBox | NumberBox,
        text: str,
        explanation: str,
        policy: Callable[[Any], ThresholdPolicy],
    ) -> None:
        """Add a row: a button that asks for a threshold by a policy, and the policy's number."""
        button = self.buttons[box] = QPushButton(text)
        button.setToolTip(explanation)
        button.clicked.connect(lambda: self._controller.proposals.propose(policy(box.value())))
        box.setAccessibleName(text)
        row = self._grid.rowCount()
        self._grid.addWidget(button, row, 0)
        self._grid.addWidget(box, row, 1)

    @while_alive
    def _show(self) -> None:
        state = self._state
        self.good.show_layer(state.good_layer)
        ready = state.heatmap is not None and not state.busy
        for button in self.buttons.values():
            button.setEnabled(ready)


class SegmentView(QWidget):
    """Edits threshold and post-processing; the labels in the viewer follow."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._state = controller.state
        tip = (
            "Residual above which a pixel is a defect. Behind the slider: the histogram "
            "(logarithmic) of the residuals of this image and of good images. With the presets "
            "Quick and Best quality, one good pixel in a thousand exceeds 3, and one in ten "
            "thousand exceeds 4. Arrow keys move the threshold; with Shift, the one for review."
        )
        self.heatmap = LayerCombo(
            controller.viewer.layers, is_heatmap, "none", "The heatmap that is segmented."
        )
        self.slider = ThresholdSlider()
        self.slider.setToolTip(tip)
        self.auto_button = QPushButton("Auto threshold")
        self.auto_button.setToolTip(
            "The threshold that the model proposes: about one region in each good image is "
            "outlined by mistake, unless you chose otherwise below."
        )
        self.proposals = ProposalsView(controller)
        self.fields = {
            name: setting_field(shown(SegmentationConfig, name), partial(self._on_setting, name))
            for name in SegmentationConfig.model_fields
            if name != "review_threshold"  # which the slider shows, too
        }
        self.two_thresholds = QCheckBox("Review from")
        self.two_thresholds.setToolTip(
            "A second, lower threshold. Regions between the two are shown in green, for a person "
            "to review."
        )
        self.review = NumberBox(
            0, 1e6, decimals=4, tip="Residual above which a pixel should be reviewed."
        )
        self.review.setAccessibleName("Review from")
        self.shared = QCheckBox("One threshold for all images")
        self.shared.setToolTip(
            "All heatmaps of a model share one threshold. Otherwise each has its own: choose the "
            "heatmap above to change it."
        )
        self.summary = wrapped(QLabel())
        self.summary.setAccessibleName("Regions found")
        self.summary.setStyleSheet("font-weight: bold;")
        self.overview = OverviewTable(lambda layer: setattr(self._state, "heatmap", layer))
        self.create_button = QPushButton("Create labels")
        self.create_button.setToolTip(
            "Make a layer of numbered regions from the outlines. You can correct it; a table has "
            "area, position and residual of the regions."
        )
        self.all_button = QPushButton("… of all images")
        self.all_button.setAccessibleName("Create labels of all images")
        self.all_button.setToolTip(
            "The same for each image with a heatmap; the gallery in Regions shows all of them."
        )

        checks = QGridLayout()
        checks.setSpacing(4)
        switches = [field for field in self.fields.values() if isinstance(field, Check)]
        for number, box in enumerate(switches):
            checks.addWidget(box, *divmod(number, 2))
        review = QHBoxLayout()
        review.setSpacing(4)
        review.addWidget(self.two_thresholds)
        review.addWidget(self.review, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 6)
        layout.setSpacing(4)
        layout.addLayout(form(("Heatmap", self.heatmap)))
        layout.addWidget(self.slider)
        layout.addWidget(self.summary)
        layout.addWidget(self.overview)
        layout.addWidget(self.auto_button)
        layout.addWidget(Section("Threshold without defects", self.proposals, main=False))
        layout.addLayout(review)
        layout.addWidget(self.shared)
        layout.addLayout(form(*(each for each in self.fields.values() if each not in switches)))
        layout.addLayout(checks)
        create = QHBoxLayout()
        create.setSpacing(4)
        create.addWidget(self.create_button)
        create.addWidget(self.all_button)
        layout.addLayout(create)
        self._connect()
        self._show_heatmap()
        self._show_settings()
        self._show_summary()
        self._show_overview()

    def _connect(self) -> None:
        state = self._state
        self.heatmap.chosen.connect(lambda layer: setattr(state, "heatmap", layer))
        self.slider.value_changed.connect(lambda value: setattr(state, "threshold", value))
        self.slider.review_changed.connect(self._on_review)
        self.auto_button.clicked.connect(self._controller.proposals.use_automatic)
        self.two_thresholds.toggled.connect(self._on_two_thresholds)
        self.review.edited.connect(self._on_review)
        self.shared.toggled.connect(lambda checked: setattr(state, "shared_threshold", checked))
        state.events.shared_threshold.connect(self._show_settings)
        self.create_button.clicked.connect(lambda: self._controller.labelling.start())
        self.all_button.clicked.connect(lambda: self._controller.labelling.start(all_images=True))
        for signal in (
            state.events.heatmap,
            state.events.histogram,
            state.events.good_histogram,
            state.events.auto_threshold,
            state.events.auto_regions,
            state.events.activity,
        ):
            signal.connect(self._show_heatmap)
        state.events.threshold.connect(self._show_threshold)
        state.events.segmentation.connect(self._show_settings)
        for signal in (state.events.summary, state.events.fraction_above, state.events.heatmap):
            signal.connect(self._show_summary)
        state.events.overview.connect(self._show_overview)

    def _on_setting(self, name: str, value: object) -> None:
        self._state.segmentation = self._state.segmentation.replace(**{name: value})

    def _on_two_thresholds(self, wanted: bool) -> None:
        if wanted != (self._state.segmentation.review_threshold is not None):
            self._on_setting("review_threshold", self._state.threshold / 2 if wanted else None)

    def _on_review(self, value: float) -> None:
        self._on_setting("review_threshold", min(value, self._state.threshold))

    @while_alive
    def _show_heatmap(self) -> None:
        state = self._state
        self.heatmap.show_layer(state.heatmap)
        self.overview.show_current(state.heatmap)
        there = state.heatmap is not None
        for widget in (self.slider, self.two_thresholds, self.shared, *self.fields.values()):
            widget.setEnabled(there)
        self.fields["hysteresis"].setEnabled(state.segmentation.review_threshold is not None)
        self.auto_button.setEnabled(state.auto_threshold is not None)
        for button in (self.create_button, self.all_button):
            button.setEnabled(there and not state.busy)
        if state.histogram is not None:
            _, edges = state.histogram
            # Where all of an image is good, the threshold lies beyond its largest residual.
            self.slider.set_range(0.0, max(float(edges[-1]), state.auto_threshold or 0.0))
        self.slider.set_histogram(*(state.histogram or (None, None)))
        self.slider.set_reference_histogram(*(state.good_histogram or (None, None)))
        regions = state.auto_regions
        text = "auto" if regions is None else f"{regions:.2g} false per image"
        self.slider.set_marker(state.auto_threshold, text)
        self._show_threshold()

    @while_alive
    def _show_threshold(self) -> None:
        if self.slider.value() != self._state.threshold:
            self.slider.set_value(self._state.threshold)

    @while_alive
    def _show_settings(self) -> None:
        settings = self._state.segmentation
        for name, field in self.fields.items():
            field.show_value(getattr(settings, name))
        self.shared.setChecked(self._state.shared_threshold)
        two = settings.review_threshold is not None
        self.two_thresholds.setChecked(two)
        self.slider.set_review(settings.review_threshold)
        self.review.setEnabled(two)
        self.fields["hysteresis"].setEnabled(two)
        if settings.review_threshold is not None:
            self.review.show_value(settings.review_threshold)

    @while_alive
    def _show_summary(self) -> None:
        found, above = self._state.summary, self._state.fraction_above
        if found is None and above is not None:
            part = f"About {100 * above:.2g} % of the pixels lie above the threshold"
            self.summary.setText(f"{part}; Create labels finds the regions.")
            return
        if found is None:
            here = self._state.heatmap is not None
            self.summary.setText("…" if here else "No heatmap yet: press Detect first.")
            return
        regions = "1 region" if found.regions == 1 else f"{found.regions:,} regions"
        area = f" ({found.area})" if found.area else ""
        text = f"{regions}, {found.pixels:,} px{area}"
        if self._state.segmentation.review_threshold is not None:
            text += f"; {found.review_regions:,} to review, {found.review_pixels:,} px"
        if found.good:
            text += f"; {found.good:,} marked good"
        self.summary.setText(text if found.complete else f"{text} in this plane")

    @while_alive
    def _show_overview(self) -> None:
        self.overview.show_images(self._state.overview, self._state.heatmap)

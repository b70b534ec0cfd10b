"""The section that scores a heatmap against ground truth."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from ...controllers.panel_controller import Controller
from ...layers.ground_truth import is_truth
from ..plots.curve_plot import CurvePlot
from ..widgets.fields import Choice, LayerCombo, column, form, heading, while_alive

__all__ = ["EvaluateView"]

_MOST_ROWS = 6


class EvaluateView(QWidget):
    """Chooses ground truth, and shows scores and curves of the current heatmap."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._state = controller.state
        self.heatmap_label = heading("")
        self.heatmap_label.setWordWrap(True)
        self.truth = LayerCombo(
            controller.viewer.layers,
            is_truth,
            "choose a Labels layer",
            "Labels layer in which all pixels of defects have labels.",
        )
        self.evaluate_button = QPushButton("Evaluate")
        self.evaluate_button.setToolTip(
            "Count found defects and false regions, with the threshold and the settings of "
            "Segment, and compute the usual scores (areas under curves, IoU, F1)."
        )
        self.all_button = QPushButton("… all images")
        self.all_button.setAccessibleName("Evaluate all images")
        self.all_button.setToolTip(
            "The same for all images whose ground truth has a matching name, such as 7_mask for 7."
        )
        self.counts = heading(
            "",
            "With the threshold and the settings of Segment. A region that touches no defect is "
            "false.",
        )
        self.counts.setWordWrap(True)
        self.table = QTableWidget()
        self.table.setAccessibleName("Scores")
        self.table.setToolTip(
            "AUPRO is integrated to a false positive rate of 0.3; FPR, the false positive rate, is "
            "the fraction of good pixels that are outlined."
        )
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        for header in (self.table.horizontalHeader(), self.table.verticalHeader()):
            assert header is not None
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        vertical = self.table.verticalHeader()
        assert vertical is not None
        vertical.setVisible(False)
        self.curve = Choice({}, "Which curves to show.")
        self.curve.setAccessibleName("Curves")
        self.plot = CurvePlot()
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        buttons.addWidget(self.evaluate_button)
        buttons.addWidget(self.all_button)
        layout = column(self.heatmap_label, self.counts, self.table, self.curve, self.plot)
        layout.insertLayout(1, form(("Ground truth", self.truth)))
        layout.insertLayout(2, buttons)
        self.setLayout(layout)
        state = self._state
        self.truth.chosen.connect(lambda layer: setattr(state, "truth_layer", layer))
        self.evaluate_button.clicked.connect(lambda: controller.evaluation.start())
        self.all_button.clicked.connect(lambda: controller.evaluation.start(all_images=True))
        self.curve.chosen.connect(self._show_curve)
        for signal in (state.events.heatmap, state.events.truth_layer, state.events.activity):
            signal.connect(self._show_choices)
        for name in ("inserted", "removed", "renamed"):
            controller.viewer.layers.events[name].connect(self._show_choices)
        state.events.evaluation.connect(self._show_scores)
        self._show_choices()
        self._show_scores()

    @while_alive
    def _show_choices(self) -> None:
        state = self._state
        if state.heatmap is None:
            text = "No heatmap yet: press Detect first."
        elif state.truth_layer is None:
            text = f"Heatmap: {state.heatmap.name}. Draw its defects into a Labels layer, or open "
            text += "a mask of them, and choose it here."
        else:
            text = f"Heatmap: {state.heatmap.name}"
        self.heatmap_label.setText(text)
        self.truth.show_layer(state.truth_layer)
        ready = state.heatmap is not None and state.truth_layer is not None
        self.evaluate_button.setEnabled(ready and not state.busy)
        several = len(self._controller.evaluation.with_truth()) > 1
        self.all_button.setEnabled(several and not state.busy)

    @while_alive
    def _show_scores(self) -> None:
        summary = self._state.evaluation
        self.table.setVisible(summary is not None)
        self.counts.setVisible(summary is not None)
        for widget in (self.curve, self.plot):
            widget.setVisible(summary is not None and bool(summary.curves))
        if summary is None:
            return
        self.counts.setText(f"{summary.text}.")
        self.table.setColumnCount(len(summary.columns))
        self.table.setHorizontalHeaderLabels(summary.columns)
        self.table.setRowCount(len(summary.rows))
        for row, texts in enumerate(summary.rows):
            for place, text in enumerate(texts):
                self.table.setItem(row, place, QTableWidgetItem(text))
        header = self.table.horizontalHeader()
        assert header is not None
        rows = min(len(summary.rows), _MOST_ROWS)
        scroll_bar = self.table.horizontalScrollBar()
        extra = 8 if scroll_bar is None else 8 + scroll_bar.sizeHint().height()
        self.table.setFixedHeight(
            header.sizeHint().height() + rows * self.table.rowHeight(0) + extra
        )
        if not summary.curves:
            return
        chosen = self.curve.currentData()
        self.curve.clear()
        for curves in summary.curves:
            self.curve.addItem(curves.title, curves.title)
        self.curve.show_value(chosen if chosen is not None else summary.curves[0].title)
        self._show_curve(self.curve.currentData())

    def _show_curve(self, title: object) -> None:
        summary = self._state.evaluation
        found = [] if summary is None else [c for c in summary.curves if c.title == title]
        self.plot.show_curves(found[0] if found else None)

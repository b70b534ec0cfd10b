"""The dock widget "SSIM defects"."""

from __future__ import annotations

from napari.viewer import Viewer
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from ..controllers.session import controller_of
from .sections.batch import BatchView
from .sections.detect import DetectView
from .sections.evaluate import EvaluateView
from .sections.export import ExportView
from .sections.region_table import RegionTableView
from .sections.segment import SegmentView
from .sections.train import TrainView
from .widgets.footer import Footer
from .widgets.lifetime import while_alive
from .widgets.section import Section

__all__ = ["DefectPanel"]


class DefectPanel(QWidget):
    """Train, detect, segment, list, evaluate, export and inspect folders, from top to bottom.

    Parameters
    ----------
    napari_viewer
        The viewer; one that had a panel before goes on where that was.
    """

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controller = controller_of(napari_viewer)
        self.state = self.controller.state
        self.train = TrainView(self.controller)
        self.detect = DetectView(self.controller)
        self.segment = SegmentView(self.controller)
        self.regions = RegionTableView(self.controller)
        self.evaluate = EvaluateView(self.controller)
        self.export = ExportView(self.controller)
        self.batch = BatchView(self.controller)
        self.footer = Footer(self.state)
        self._sections = {
            "Train": Section("Train", self.train, expanded=True),
            "Detect": Section("Detect", self.detect, expanded=True),
            "Segment": Section("Segment", self.segment, expanded=self.state.heatmap is not None),
            "Regions": Section(
                "Regions", self.regions, expanded=self.state.labels_layer is not None
            ),
            "Evaluate": Section("Evaluate", self.evaluate),
            "Export": Section("Export", self.export),
            "Folder": Section("Folder", self.batch),
        }
        content = QWidget()
        sections = QVBoxLayout(content)
        sections.setContentsMargins(2, 2, 2, 2)
        sections.setSpacing(4)
        for section in self._sections.values():
            sections.addWidget(section)
        sections.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(content)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(scroll, 1)
        layout.addWidget(self.footer)
        self.setMinimumWidth(260)
        self.state.events.heatmap.connect(self._on_heatmap)
        self.state.events.labels_layer.connect(self._on_labels_layer)

    def sizeHint(self) -> QSize:
        """Width that shows everything."""
        return QSize(350, 700)

    @while_alive
    def _on_heatmap(self) -> None:
        if self.state.heatmap is not None:
            self._sections["Segment"].set_expanded(True)
            self._sections["Export"].set_expanded(True)

    @while_alive
    def _on_labels_layer(self) -> None:
        if self.state.labels_layer is not None:
            self._sections["Regions"].set_expanded(True)

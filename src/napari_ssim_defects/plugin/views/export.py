"""The section that writes results to files."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..controller import Controller
from ..layers import is_heatmap
from .fields import heading
from .layer_picker import LayerPicker

__all__ = ["ExportView"]


class ExportView(QWidget):
    """Chooses heatmaps, files and a folder."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._state = controller.state
        tip = "The images whose results are written."
        self.picker = LayerPicker(
            controller.viewer.layers, is_heatmap, hint="None yet: Detect makes them"
        )
        self.picker.setToolTip(tip)
        self.residual = QCheckBox("Residual")
        self.residual.setToolTip("<image>.residual.ome.tif: the heatmap, 32-bit float.")
        self.labels = QCheckBox("Labels")
        self.labels.setToolTip(
            "<image>.labels.ome.tif: the numbered regions; those of Create labels if there are "
            "any, else what the threshold finds now."
        )
        self.table = QCheckBox("Table")
        self.table.setToolTip("regions.csv: area, position and residual of every region.")
        self.folder = QLineEdit()
        self.folder.setToolTip("Folder that the files are written to.")
        self.folder.setAccessibleName("Folder")
        self.browse_button = QPushButton("Folder …")
        self.browse_button.setToolTip("Choose the folder.")
        self.export_button = QPushButton("Export")
        self.export_button.setToolTip("Write the files, in the background.")

        checks = QHBoxLayout()
        for box in (self.residual, self.labels, self.table):
            checks.addWidget(box)
        where = QHBoxLayout()
        where.addWidget(self.folder, 1)
        where.addWidget(self.browse_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 6)
        layout.setSpacing(4)
        layout.addWidget(heading("Heatmaps", tip))
        layout.addWidget(self.picker)
        layout.addLayout(checks)
        layout.addLayout(where)
        layout.addWidget(self.export_button)
        self._connect()
        self._show()

    def _connect(self) -> None:
        state = self._state
        self.picker.selection_changed.connect(self._on_picked)
        for name in ("residual", "labels", "table"):
            getattr(self, name).toggled.connect(
                lambda checked, name=name: setattr(state, f"export_{name}", checked)
            )
        self.folder.editingFinished.connect(self._on_folder)
        self.browse_button.clicked.connect(self._on_browse)
        self.export_button.clicked.connect(lambda: self._controller.export.start())
        for signal in (
            state.events.export_layers,
            state.events.export_folder,
            state.events.export_residual,
            state.events.export_labels,
            state.events.export_table,
            state.events.activity,
        ):
            signal.connect(self._show)

    def _on_picked(self) -> None:
        self._state.export_layers = tuple(self.picker.selected())

    def _on_folder(self) -> None:
        text = self.folder.text().strip()
        if text:
            self._state.export_folder = Path(text).expanduser()

    def _on_browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Export to", self.folder.text())
        if folder:
            self._state.export_folder = Path(folder)

    def _show(self) -> None:
        state = self._state
        if tuple(self.picker.selected()) != state.export_layers:
            self.picker.set_selected(state.export_layers)
        self.folder.setText(str(state.export_folder or ""))
        self.residual.setChecked(state.export_residual)
        self.labels.setChecked(state.export_labels)
        self.table.setChecked(state.export_table)
        self.export_button.setEnabled(not state.busy and bool(state.export_layers))

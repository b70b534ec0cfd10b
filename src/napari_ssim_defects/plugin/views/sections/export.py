"""The section that writes results to files."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ....core.config import OutputKind
from ...controllers.panel_controller import Controller
from ...layers import is_heatmap
from ...layers.provenance import is_by
from ..widgets.fields import Choice, NumberBox, form, heading, while_alive
from ..widgets.layer_picker import LayerPicker

__all__ = ["ExportView"]

_KINDS: dict[OutputKind, tuple[str, str]] = {
    "residual": ("Residual", "<image>.residual: the heatmap, 32-bit float."),
    "labels": (
        "Labels",
        "<image>.labels: the numbered regions; those of Create labels if there are any, else those "
        "at the current threshold.",
    ),
    "mask": ("Mask", "<image>.mask: 255 in all regions, also those to review; 0 elsewhere."),
    "table": ("Table", "regions.csv: area, position and residual of every region."),
    "overlay": (
        "Overlay",
        "<image>.overlay.png: the image with its regions outlined, defects in cyan, regions to "
        "review in green; one picture for each plane of a stack.",
    ),
}
_COLUMNS = 3
_RECIPES = "Recipes (*.toml)"


class ExportView(QWidget):
    """Chooses heatmaps, files and a folder."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller.export
        self._recipes = controller.recipes
        self._state = controller.state
        tip = "The images whose results are written."
        self.picker = LayerPicker(
            controller.viewer.layers,
            is_heatmap,
            hint="Nothing to export yet: press Detect first.",
            note=lambda layer: "" if is_by(self._state.model, layer) else " (another model)",
        )
        self.picker.setToolTip(tip)
        self.kinds = {kind: QCheckBox(text) for kind, (text, _) in _KINDS.items()}
        for kind, box in self.kinds.items():
            box.setToolTip(_KINDS[kind][1])
        self.format = Choice(
            {"ome": "OME-TIFF", "imagej": "ImageJ TIFF"},
            "Both keep scale and unit. OME-TIFF (.ome.tif) holds everything; "
            "ImageJ TIFF (.tif) opens in any Fiji at once, up to 4 GB and 65535 regions.",
        )
        size_tip = (
            "Width of a pixel of the images that have none in their files. Tables and files then "
            "have sizes in its unit, too."
        )
        self.pixel = NumberBox(0, 1e6, decimals=4, tip=size_tip)
        self.pixel.setSpecialValueText("none")
        self.unit = Choice({unit: unit for unit in ("nm", "µm", "mm")}, size_tip)
        self.unit.setAccessibleName("Unit of the pixel size")
        self.unit.show_value("µm")
        self.folder = QLineEdit()
        self.folder.setToolTip("Folder for the files.")
        self.folder.setAccessibleName("Folder")
        self.browse_button = QPushButton("Folder …")
        self.browse_button.setToolTip("Choose the folder.")
        self.replace = QCheckBox("Replace files")
        self.replace.setToolTip("Otherwise existing files are kept, and a message says so.")
        self.export_button = QPushButton("Export")
        self.export_button.setToolTip("Write the files, in the background.")
        self.command_button = QPushButton("Copy as command")
        self.command_button.setToolTip(
            "Copy a command for a terminal that writes the same files without napari."
        )
        self.script_button = QPushButton("Copy as Python")
        self.script_button.setToolTip("Copy a Python program that writes the same files.")
        self.save_recipe_button = QPushButton("Save recipe …")
        self.save_recipe_button.setToolTip(
            "Save training and detection as set here to a readable file. napari-ssim-defects run "
            "executes it without napari."
        )
        self.open_recipe_button = QPushButton("Open recipe …")
        self.open_recipe_button.setToolTip(
            "Set the panel as in a recipe. Its images are selected if they are open."
        )

        checks = QGridLayout()
        for number, box in enumerate(self.kinds.values()):
            checks.addWidget(box, *divmod(number, _COLUMNS))
        checks.addWidget(self.replace, *divmod(len(self.kinds), _COLUMNS))
        self.size_row = QWidget()
        size = QHBoxLayout(self.size_row)
        size.setContentsMargins(0, 0, 0, 0)
        size.addLayout(form(("Pixel size", self.pixel)), 3)
        size.addWidget(self.unit, 1)
        where = QHBoxLayout()
        where.addWidget(self.folder, 1)
        where.addWidget(self.browse_button)
        copies = QHBoxLayout()
        copies.addWidget(self.command_button)
        copies.addWidget(self.script_button)
        recipes = QHBoxLayout()
        recipes.addWidget(self.save_recipe_button)
        recipes.addWidget(self.open_recipe_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 6)
        layout.setSpacing(4)
        layout.addWidget(heading("Heatmaps", tip))
        layout.addWidget(self.picker)
        layout.addLayout(checks)
        layout.addLayout(form(("Images as", self.format)))
        layout.addWidget(self.size_row)
        layout.addLayout(where)
        layout.addWidget(self.export_button)
        layout.addLayout(copies)
        layout.addLayout(recipes)
        self._connect()
        self._show()

    def _connect(self) -> None:
        state = self._state
        self.picker.selection_changed.connect(self._on_picked)
        for box in self.kinds.values():
            box.toggled.connect(self._on_kinds)
        self.format.chosen.connect(
            lambda form: setattr(state, "outputs", state.outputs.replace(format=form))
        )
        self.pixel.edited.connect(self._on_size)
        self.unit.chosen.connect(self._on_size)
        self.folder.editingFinished.connect(self._on_folder)
        self.browse_button.clicked.connect(self._on_browse)
        self.replace.toggled.connect(lambda checked: setattr(state, "replace_files", checked))
        self.export_button.clicked.connect(lambda: self._controller.start())
        self.command_button.clicked.connect(lambda: self._controller.copy("command", _put))
        self.script_button.clicked.connect(lambda: self._controller.copy("script", _put))
        self.save_recipe_button.clicked.connect(self._on_save_recipe)
        self.open_recipe_button.clicked.connect(self._on_open_recipe)
        for signal in (
            state.events.export_layers,
            state.events.export_folder,
            state.events.outputs,
            state.events.replace_files,
            state.events.activity,
            state.events.model,
        ):
            signal.connect(self._show)

    def _on_picked(self) -> None:
        self._state.export_layers = tuple(self.picker.selected())

    def _on_kinds(self) -> None:
        kinds = tuple(kind for kind, box in self.kinds.items() if box.isChecked())
        self._state.outputs = self._state.outputs.replace(kinds=kinds)

    def _on_size(self) -> None:
        if self.pixel.value() > 0:
            self._controller.set_pixel_size(self.pixel.value(), self.unit.currentData())

    def _on_folder(self) -> None:
        text = self.folder.text().strip()
        if text and text != str(self._controller.folder()):
            self._state.export_folder = Path(text).expanduser()

    def _on_browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Export to", self.folder.text())
        if folder:
            self._state.export_folder = Path(folder)

    def _on_save_recipe(self) -> None:
        start = str(Path(self.folder.text(), "recipe.toml"))
        path, _ = QFileDialog.getSaveFileName(self, "Save the recipe", start, _RECIPES)
        if path:
            self._recipes.save(path)

    def _on_open_recipe(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a recipe", self.folder.text(), _RECIPES)
        if path:
            self._recipes.open(path)

    @while_alive
    def _show(self) -> None:
        state = self._state
        if tuple(self.picker.selected()) != state.export_layers:
            self.picker.set_selected(state.export_layers)
        self.picker.renew()
        self.size_row.setVisible(self._controller.lacks_pixel_size())
        self.folder.setText(str(self._controller.folder()))
        for kind, box in self.kinds.items():
            box.blockSignals(True)  # the boxes change one after another, and only all of them count
            box.setChecked(kind in state.outputs.kinds)
            box.blockSignals(False)
        self.format.show_value(state.outputs.format)
        self.replace.setChecked(state.replace_files)
        ready = not state.busy and bool(state.export_layers)
        for button in (self.export_button, self.command_button, self.script_button):
            button.setEnabled(ready)
        for button in (self.save_recipe_button, self.open_recipe_button):
            button.setEnabled(not state.busy)


def _put(text: str) -> None:
    clipboard = QApplication.clipboard()
    if clipboard is not None:
        clipboard.setText(text)

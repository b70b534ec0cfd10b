"""The section that inspects whole folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from ...controllers.panel_controller import Controller
from ...state.batch_state import BatchSummary
from ..widgets.fields import column, form, heading, notice_label, show_notices, while_alive

__all__ = ["BatchView"]

_FILTER = "Images (*.tif *.tiff *.png *.jpg *.jpeg *.bmp);;All files (*)"
_HEIGHT = 130  # pixels; some five rows
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class BatchView(QWidget):
    """Chooses files and a folder, and lists what was found."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._state = controller.state
        self.inputs = QLineEdit()
        self.inputs.setPlaceholderText("a folder or a file")
        self.inputs.setAccessibleName("Images to inspect")
        self.folder_button = QPushButton("Folder …")
        self.folder_button.setToolTip("Choose a folder, or an image that is a zarr folder.")
        self.files_button = QPushButton("Files …")
        self.files_button.setToolTip("Choose single image files.")
        self.results = QLineEdit()
        self.results.setPlaceholderText("folder for the results")
        self.results.setToolTip("Folder for the result files.")
        self.results.setAccessibleName("Results")
        self.results_button = QPushButton("Folder …")
        self.results_button.setToolTip("Choose the folder for the results.")
        self.overwrite = QCheckBox("Overwrite")
        self.overwrite.setToolTip(
            "Inspect all images again. Otherwise images that were finished with the same model and "
            "settings are skipped."
        )
        self.report = QCheckBox("Write a report")
        self.report.setToolTip("report.html: one page with the worst images and all numbers.")
        self.roi = QLineEdit()
        self.roi.setPlaceholderText("whole image")
        self.roi.setToolTip(
            "The part of the images to inspect: margins to leave out such as bottom:60, a box of "
            "rows and columns such as 0:960,0:1280, or the file of a mask."
        )
        self.settings = QLabel()
        self.settings.setWordWrap(True)
        self.start_button = QPushButton("Start")
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.notices = notice_label()
        self.worst = QTreeWidget()
        self.worst.setAccessibleName("Worst images")
        self.worst.setHeaderLabels(["Image", "Regions", "Area"])
        self.worst.setRootIsDecorated(False)
        self.worst.setUniformRowHeights(True)
        self.worst.setMinimumHeight(_HEIGHT)
        self.worst.setToolTip(
            "The images with the largest defective part. Double-click one to open it with its "
            "residual and its regions."
        )
        header = self.worst.header()
        assert header is not None
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for section in (1, 2):
            header.setSectionResizeMode(section, QHeaderView.ResizeMode.ResizeToContents)
        self.report_button = QPushButton("Open report")
        self.report_button.setToolTip("Show report.html in the browser.")
        self.open_button = QPushButton("Open folder")
        self.open_button.setToolTip("Show the folder of the results.")
        self._lay_out()
        self._connect()
        self._show_choices()
        self._show_summary()
        self._show_activity()

    def _lay_out(self) -> None:
        layout = column(heading("Images to inspect", "Files, or the images of a folder."))
        rows: tuple[tuple[QWidget, ...], ...] = (
            (self.inputs, self.folder_button, self.files_button),
            (self.results, self.results_button),
            (self.overwrite, self.report),
            (self.roi,),
            (self.settings,),
            (self.start_button,),
            (self.summary,),
            (self.notices,),
            (self.worst,),
            (self.report_button, self.open_button),
        )
        for number, widgets in enumerate(rows):
            if number == 1:
                layout.addWidget(heading("Results", self.results.toolTip()))
            if widgets == (self.roi,):
                layout.addLayout(form(("Region", self.roi)))
                continue
            row = QHBoxLayout()
            for widget in widgets:
                row.addWidget(widget, int(isinstance(widget, QLineEdit)))
            layout.addLayout(row)
        self.setLayout(layout)

    def _connect(self) -> None:
        state, batch = self._state, self._state.batch
        self.folder_button.clicked.connect(self._on_folder)
        self.files_button.clicked.connect(self._on_files)
        self.inputs.editingFinished.connect(self._on_inputs)
        self.results.editingFinished.connect(self._on_results)
        self.results_button.clicked.connect(self._on_results_folder)
        self.roi.editingFinished.connect(lambda: setattr(batch, "roi", self.roi.text().strip()))
        self.overwrite.toggled.connect(lambda checked: setattr(batch, "overwrite", checked))
        self.report.toggled.connect(lambda checked: setattr(batch, "report", checked))
        self.start_button.clicked.connect(self._on_start)
        self.worst.itemActivated.connect(self._on_image)
        self.report_button.clicked.connect(lambda: _show(batch.summary.report))
        self.open_button.clicked.connect(lambda: _show(batch.summary.folder))
        for signal in (
            batch.events.inputs, batch.events.folder, batch.events.overwrite, batch.events.report,
            batch.events.roi, batch.events.threshold, state.events.outputs, state.events.stride,
        ):  # fmt: skip
            signal.connect(self._show_choices)
        for signal in (
            state.events.activity, batch.events.inputs, batch.events.folder,
            batch.events.threshold, batch.events.summary,
        ):  # fmt: skip
            signal.connect(self._show_activity)
        batch.events.summary.connect(self._show_summary)

    def _on_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Inspect the images of", self._start())
        if folder:
            self._controller.batch.choose([folder])

    def _on_files(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(self, "Inspect", self._start(), _FILTER)
        if files:
            self._controller.batch.choose(files)

    def _start(self) -> str:
        inputs = self._state.batch.inputs
        return str(inputs[0].parent if inputs else "")

    def _on_inputs(self) -> None:
        text = self.inputs.text().strip()
        if text != _named(self._state.batch.inputs):
            self._controller.batch.choose([Path(text).expanduser()] if text else [])

    def _on_results(self) -> None:
        text = self.results.text().strip()
        self._state.batch.folder = Path(text).expanduser() if text else None

    def _on_results_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Write results to", self.results.text())
        if folder:
            self._state.batch.folder = Path(folder)

    def _on_start(self) -> None:
        if self._state.activity == "inspecting":
            self._controller.stop()
        else:
            self._controller.batch.start()

    def _on_image(self, item: QTreeWidgetItem) -> None:
        self._controller.batch.open(item.data(0, Qt.ItemDataRole.UserRole))

    @while_alive
    def _show_choices(self) -> None:
        state, batch = self._state, self._state.batch
        inputs = list(map(str, batch.inputs))
        self.inputs.setText(_named(batch.inputs))
        self.inputs.setToolTip("\n".join(inputs[:20]) or "What is inspected.")
        self.results.setText(str(batch.folder or ""))
        self.roi.setText(batch.roi)
        for box, checked in ((self.overwrite, batch.overwrite), (self.report, batch.report)):
            with QSignalBlocker(box):
                box.setChecked(checked)
        if missing := self._controller.batch.missing():
            self.settings.setText(missing)
            return
        assert batch.threshold is not None
        stride = "" if state.stride is None else f", stride {state.stride} px"
        kinds = ", ".join(state.outputs.kinds) or "nothing"
        self.settings.setText(
            f"With the model and the settings above: threshold {batch.threshold:.4g}{stride}. "
            f"Writes {kinds}, as chosen in Export."
        )

    @while_alive
    def _show_activity(self) -> None:
        state, batch = self._state, self._state.batch
        inspecting = state.activity == "inspecting"
        self.start_button.setText("Stop" if inspecting else "Start")
        self.start_button.setToolTip(
            "Stop. Finished images are kept; Start continues with the others."
            if inspecting
            else "Inspect the images in the background, and write the results."
        )
        ready = not self._controller.batch.missing()
        self.start_button.setEnabled(inspecting or (ready and not state.busy))
        summary: BatchSummary | None = batch.summary
        self.report_button.setEnabled(summary is not None and summary.report is not None)
        self.open_button.setEnabled(summary is not None and summary.done > 0)

    @while_alive
    def _show_summary(self) -> None:
        summary: BatchSummary | None = self._state.batch.summary
        shown = () if summary is None else summary.worst
        self.summary.setVisible(summary is not None)
        self.worst.setVisible(bool(shown))
        show_notices(self.notices, () if summary is None else summary.notices)
        if summary is None:
            return
        text = f"{summary.done} of {summary.total} done, {summary.defective} with regions."
        if summary.failures:
            text += f"\n⚠ {len(summary.failures)} could not be used; the first: "
            text += summary.failures[0][1]
        self.summary.setText(text)
        self.summary.setToolTip("\n".join(reason for _, reason in summary.failures[:20]))
        known = [self.worst.topLevelItem(row) for row in range(self.worst.topLevelItemCount())]
        if [item.data(0, Qt.ItemDataRole.UserRole) for item in known if item] == list(shown):
            return
        self.worst.clear()
        for image in shown:
            texts = [image.path.name, str(image.regions), f"{100 * image.defective_fraction:.2f} %"]
            item = QTreeWidgetItem(texts)
            item.setData(0, Qt.ItemDataRole.UserRole, image)
            item.setToolTip(0, str(image.path))
            for section in (1, 2):
                item.setTextAlignment(section, _RIGHT)
            self.worst.addTopLevelItem(item)


def _named(inputs: Sequence[Path]) -> str:
    return str(inputs[0]) if len(inputs) == 1 else f"{len(inputs)} files" * bool(inputs)


def _show(path: Path) -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))

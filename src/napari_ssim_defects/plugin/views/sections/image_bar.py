"""The row that says which image is shown, and leads to the others."""

from __future__ import annotations

from napari.layers import Layer
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from ...controllers.panel_controller import Controller
from ...layers import is_inspectable
from ..widgets.fields import LayerCombo, while_alive

__all__ = ["ImageBar"]


class ImageBar(QWidget):
    """Chooses the image that is shown, alone with its heatmap and its outlines."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = controller.state
        images = controller.images
        self.image = LayerCombo(
            controller.viewer.layers,
            is_inspectable,
            "no image chosen",
            "The image that is shown, with its heatmap and its outlines; others are hidden.",
        )
        self.image.setAccessibleName("Image")
        self.previous_button = _button("◂", "Previous image", "Show the image before (key ,).")
        self.next_button = _button("▸", "Next image", "Show the next image (key .).")
        self.plain_button = QPushButton("Plain")
        self.plain_button.setToolTip(
            "Hold to see the image without heatmap and outlines (or hold the key H)."
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 2)
        layout.setSpacing(4)
        for widget in (self.previous_button, self.image, self.next_button, self.plain_button):
            layout.addWidget(widget, int(widget is self.image))
        self._images = images
        self.image.chosen.connect(self._on_chosen)
        self.previous_button.clicked.connect(lambda: images.step(-1))
        self.next_button.clicked.connect(lambda: images.step(1))
        self.plain_button.pressed.connect(lambda: images.set_plain(True))
        self.plain_button.released.connect(lambda: images.set_plain(False))
        self._state.events.image.connect(self._show_image)
        self._show_image()

    def _on_chosen(self, image: Layer | None) -> None:
        if image is not None:
            self._images.choose(image)
        self._show_image()

    @while_alive
    def _show_image(self) -> None:
        self.image.show_layer(self._state.image)


def _button(text: str, name: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setFixedWidth(28)
    button.setAccessibleName(name)
    button.setToolTip(tip)
    return button

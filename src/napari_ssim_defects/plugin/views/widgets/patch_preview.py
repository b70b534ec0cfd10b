"""A few patches as the network sees them now: input, reconstruction, residual."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from ....core.training.messages import TrainingPreview

__all__ = ["PatchPreview"]

_ROWS = ("Input", "Reconstruction", "Residual")
_GAP = 3


class PatchPreview(QWidget):
    """Paints one row of patches for each step of the method."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setToolTip(
            "Patches of the training images, what the network makes of them, and the residual. "
            "The residual of a good patch turns dark as the training goes on."
        )
        self.setAccessibleName("Preview of patches")
        self._images: list[list[QImage]] = []

    def show_patches(self, preview: TrainingPreview | None, residual_high: float) -> None:
        """Show the patches of a message.

        Parameters
        ----------
        preview
            The message; None for nothing.
        residual_high
            Residual that is shown brightest.
        """
        self._images = []
        if preview is not None:
            residuals = np.clip(preview.residuals / residual_high, 0, 1)
            colours = ensure_colormap("inferno").map(residuals.ravel())[:, :3]
            heat = np.moveaxis(colours.reshape(*residuals.shape, 3), -1, 1)
            for patches in (preview.patches, preview.reconstructions, heat):
                self._images.append([_image(patch) for patch in patches])
        self.updateGeometry()
        self.update()

    def hasHeightForWidth(self) -> bool:
        """Whether the height follows from the width."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Height that square patches need."""
        line = self.fontMetrics().height() + 2
        return int(len(_ROWS) * (self._side(width) + line + _GAP))

    def sizeHint(self) -> QSize:
        """Size at the usual width of the panel."""
        return QSize(300, self.heightForWidth(300))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint captions and patches."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        line = self.fontMetrics().height() + 2
        side = self._side(self.width())
        top = 0.0
        for caption, images in zip(_ROWS, self._images, strict=False):
            painter.drawText(
                QRectF(0, top, self.width(), line), Qt.AlignmentFlag.AlignLeft, caption
            )
            top += line
            for column, image in enumerate(images):
                painter.drawImage(QRectF(column * (side + _GAP), top, side, side), image)
            top += side + _GAP
        painter.end()

    def _side(self, width: int) -> float:
        columns = max((len(images) for images in self._images), default=4)
        return min(96.0, (width - (columns - 1) * _GAP) / columns)


def _image(patch: npt.NDArray[np.floating]) -> QImage:
    """Turn a patch (C, H, W) in [0, 1] into an image that owns its pixels."""
    channels = patch if len(patch) == 3 else np.repeat(patch[:1], 3, axis=0)
    rgb = np.ascontiguousarray(np.moveaxis(np.clip(channels, 0, 1) * 255, 0, -1).astype(np.uint8))
    height, width = rgb.shape[:2]
    return QImage(rgb.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()

"""What the networks make of a few patches now: good ones, and ones with a painted defect."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from ....core.training.messages import TrainingPreview

__all__ = ["PatchPreview"]

_REDRAWN = ("Input", "Reconstruction", "Residual")
_TRIED = ("Good patches, and with painted defects", "What is found in it")
_GAP = 3


class PatchPreview(QWidget):
    """Paints one row of patches for each step of the method."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName("Preview of patches")
        self._rows: tuple[str, ...] = ()
        self._images: list[list[QImage]] = []

    def show_patches(self, preview: TrainingPreview | None, residual_high: float) -> None:
        """Show the patches of a message: a trial on painted defects, else a reconstruction."""
        self._images = []
        if preview is None:
            return
        rows: list[npt.NDArray[np.floating]]
        if preview.tried is not None and preview.scores is not None:
            self._rows = _TRIED
            rows = [preview.tried, _heat(preview.scores, 1.0)]
            tip = (
                "Two good patches of the images, and the same with a painted defect. Below: where "
                "the networks find defects. During training the painted defects become bright and "
                "the rest dark."
            )
        else:
            self._rows = _REDRAWN
            heat = _heat(preview.residuals, residual_high)
            rows = [preview.patches, preview.reconstructions, heat]
            tip = (
                "Patches of the training images, their reconstructions, and the difference "
                "(residual), which becomes dark during training."
            )
        self.setToolTip(tip)
        self._images = [[_image(patch) for patch in patches] for patches in rows]
        self.updateGeometry()
        self.update()

    def hasHeightForWidth(self) -> bool:
        """Whether the height follows from the width."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Height that square patches need."""
        line = self.fontMetrics().height() + 2
        return int(max(1, len(self._rows)) * (self._side(width) + line + _GAP))

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
        for caption, images in zip(self._rows, self._images, strict=False):
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


def _heat(values: npt.NDArray[np.floating], high: float) -> npt.NDArray[np.floating]:
    """Turn maps (N, H, W) into colours (N, 3, H, W), brightest at ``high``."""
    colours = ensure_colormap("inferno").map(np.clip(values / high, 0, 1).ravel())[:, :3]
    return np.moveaxis(colours.reshape(*values.shape, 3), -1, 1)


def _image(patch: npt.NDArray[np.floating]) -> QImage:
    """Turn a patch (C, H, W) in [0, 1] into an image that owns its pixels."""
    channels = patch if len(patch) == 3 else np.repeat(patch[:1], 3, axis=0)
    rgb = np.ascontiguousarray(np.moveaxis(np.clip(channels, 0, 1) * 255, 0, -1).astype(np.uint8))
    height, width = rgb.shape[:2]
    return QImage(rgb.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()

"""Settings in napari's preferences."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import QStandardPaths

__all__ = ["Preferences", "preferences"]

_PLUGIN = "napari-ssim-defects"
_DATA = QStandardPaths.StandardLocation.GenericDataLocation


@dataclass(frozen=True, slots=True)
class Preferences:
    """Settings of this computer.

    Attributes
    ----------
    device
        Where networks run: "auto", "cpu", "cuda", "mps" or "xpu".
    threads
        Processor threads for training and detection.
    export_folder
        Where exports and models go unless another folder is chosen.
    data_folder
        Where the plugin keeps files beyond the session.
    alexnet
        File with AlexNet's weights; None: they are downloaded when they are first needed.
    cluster
        Address of the dask scheduler that inspects folders; None: this computer does.
    """

    device: str
    threads: int
    export_folder: Path
    data_folder: Path
    alexnet: Path | None = None
    cluster: str | None = None


def preferences() -> Preferences:
    """Read the preferences; defaults where napari is too old to have plugin preferences."""
    device, threads, folder, alexnet, cluster = "auto", 0, "", "", ""
    try:
        from napari.settings import get_plugin_settings

        settings = get_plugin_settings(_PLUGIN)
        device = settings.computing.device
        threads = settings.computing.threads
        folder = settings.files.export_folder
        alexnet = settings.files.alexnet
        cluster = settings.computing.cluster.strip()
    except (ImportError, KeyError, AttributeError):
        pass  # napari < 0.9, or the plugin is used without being installed
    # One core stays free for the viewer: drawing is otherwise slowed to half its rate.
    threads = threads or max(1, (os.cpu_count() or 2) - 1)
    return Preferences(
        device,
        threads,
        Path(folder).expanduser() if folder else Path.home(),
        Path(QStandardPaths.writableLocation(_DATA)) / _PLUGIN,
        Path(alexnet).expanduser() if alexnet else None,
        cluster or None,
    )

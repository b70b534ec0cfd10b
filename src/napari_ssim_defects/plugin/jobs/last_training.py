"""What is known of the last training without reading its weights: recipe and layers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from ...core.common.errors import InputError
from ...core.config import TrainingConfig
from ...io.files.safetensors_file import read_metadata

if TYPE_CHECKING:
    from napari.layers import Layer

__all__ = ["LastTraining", "LayerRecord", "checkpoint_file"]

_NOTE = "layers"


class LayerRecord(BaseModel):
    """How to find a layer again: its name, and the file that it came from, if any."""

    name: str
    file: str | None

    @classmethod
    def of(cls, layer: Layer) -> LayerRecord:
        """Describe a layer."""
        path = layer.source.path
        return cls(name=layer.name, file=None if path is None else str(path))

    def find(self, layers: Iterable[Layer]) -> Layer:
        """Return the layer of that file and name; else of that file; else of that name.

        Raises
        ------
        InputError
            If there is none.
        """
        layers = list(layers)
        found = [layer for layer in layers if self.file and LayerRecord.of(layer).file == self.file]
        named = [layer for layer in found or layers if layer.name == self.name]
        if not (named or found):
            where = f" ({self.file})" if self.file else ""
            raise InputError(f"Open '{self.name}'{where} first; the training goes on with it.")
        return (named or found)[0]


class _Layers(BaseModel):
    training: tuple[LayerRecord, ...]
    region: LayerRecord | None


@dataclass(frozen=True, slots=True)
class LastTraining:
    """Recipe of the last training, and the layers that it learned from.

    Attributes
    ----------
    config
        The recipe.
    images
        The image layers.
    region
        The layer that limited them, or None.
    """

    config: TrainingConfig
    images: tuple[LayerRecord, ...]
    region: LayerRecord | None

    def notes(self) -> dict[str, str]:
        """Return what to write into a checkpoint beside the training."""
        return {_NOTE: _Layers(training=self.images, region=self.region).model_dump_json()}

    @classmethod
    def read(cls, folder: Path) -> LastTraining:
        """Read from the checkpoint in a folder, without torch.

        Raises
        ------
        InputError
            If there is none, or it is damaged.
        """
        file = checkpoint_file(folder)
        metadata = read_metadata(file)
        try:
            layers = _Layers.model_validate_json(metadata[_NOTE])
            config = TrainingConfig.model_validate(json.loads(metadata["checkpoint"])["config"])
        except (KeyError, TypeError, ValueError, ValidationError):
            raise InputError(f"'{file}' is damaged; train anew.") from None
        return cls(config, layers.training, layers.region)


def checkpoint_file(folder: Path) -> Path:
    """Return where the checkpoint of the last training lies."""
    return folder / "last-training.safetensors"

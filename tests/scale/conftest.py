"""What the tests of scale share: a model with all views, and planes of many small tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.images import tiles
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.training.messages import TrainingFinished
from napari_ssim_defects.core.training.train import train


@pytest.fixture(scope="session")
def trained(material: Callable[..., Any]) -> Callable[..., DefectModel]:
    """Maker of models that were hardly trained: bits are compared, not quality."""

    def make(name: str, image: Any = None, **changes: Any) -> DefectModel:
        tiny = {"patch_size": 16, "latent_dimension": 8, "patches": 8, "epochs": 1, "stride": 7}
        config = TrainingConfig.preset(name, **{**tiny, "minutes": None, **changes})
        image = material(1, (96, 96)) if image is None else image
        *_, last = train([image], config, device="cpu")
        assert isinstance(last, TrainingFinished)
        return last.model

    return make


@pytest.fixture(scope="session")
def viewed_model(trained: Callable[..., DefectModel]) -> DefectModel:
    """A model of grey images that is scored by reconstruction, discriminator and texture."""
    return trained("quick")


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> int:
    """Cut planes into tiles of 64 pixels, so that small ones have many."""
    monkeypatch.setattr(tiles, "SIDE", 64)
    return 64


@pytest.fixture
def spoilt(material: Callable[..., Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A plane of several tiles, the last ones narrower or wider, with a defect across a seam."""
    image = material(3, (203, 310))
    image[55:72, 180:260] = 255
    return np.asarray(image)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)

"""A checkpoint gives back the same training, and nothing else is ever taken for one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.training.checkpoint import Checkpoint
from napari_ssim_defects.core.training.messages import TrainingCheckpoint
from napari_ssim_defects.core.training.train import train
from napari_ssim_defects.io.artifacts.checkpoint_file import (
    checkpoint_path,
    read_checkpoint,
    write_checkpoint,
)
from napari_ssim_defects.io.files.safetensors_file import read_metadata

CONFIG = TrainingConfig(
    patch_size=16, latent_dimension=8, patches=32, epochs=2, minutes=None, batch_size=8
)


@pytest.fixture(scope="module")
def state(material: Callable[..., Any]) -> Checkpoint:
    messages = train([material(1)], CONFIG, device="cpu")
    *_, last = (m.state for m in messages if isinstance(m, TrainingCheckpoint))
    return last


@pytest.fixture(scope="module")
def written(state: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "a.safetensors"
    write_checkpoint(state, path, {"layers": "[1, 2]"})
    return path


def test_a_checkpoint_is_read_as_it_was_written(state: Checkpoint, written: Path) -> None:
    found = read_checkpoint(written)
    assert read_metadata(written)["layers"] == "[1, 2]"
    assert (found.config, found.images) == (state.config, state.images)
    assert found.loop_state == state.loop_state
    assert found.loop_state.history
    for part in ("network", "best", "optimiser"):
        before, after = getattr(state, part), getattr(found, part)
        assert before.keys() == after.keys()
        for name, array in before.items():
            assert array.dtype == after[name].dtype
            np.testing.assert_array_equal(array, after[name])


def test_a_training_goes_on_from_a_file(written: Path, material: Callable[..., Any]) -> None:
    *_, whole = train([material(1)], CONFIG, device="cpu")
    *_, last = train([material(1)], device="cpu", state=read_checkpoint(written))
    for name, weights in whole.model.network.state_dict().items():
        np.testing.assert_array_equal(weights, last.model.network.state_dict()[name])


def test_the_checkpoint_lies_beside_the_model() -> None:
    assert checkpoint_path("a/b.safetensors") == Path("a/b.checkpoint.safetensors")
    assert checkpoint_path("model") == Path("model.checkpoint.safetensors")


def _altered(written: Path, path: Path, **metadata: str) -> Path:
    with safe_open(written, framework="np") as content:
        texts = dict(content.metadata())
    save_file(load_file(written), path, {**texts, **metadata})
    return path


def test_other_files_are_refused(written: Path, model_path: Path, tmp_path: Path) -> None:
    with safe_open(written, framework="np") as content:
        header = json.loads(content.metadata()["checkpoint"])
    header["standing"]["seen"] = -1
    path = tmp_path / "b.safetensors"
    cut_off = tmp_path / "c.safetensors"
    shutil.copy(written, cut_off)
    cut_off.write_bytes(cut_off.read_bytes()[:-100])
    for other, message in [
        (tmp_path / "none.safetensors", "There is no"),
        (model_path, "not a checkpoint"),
        (cut_off, "damaged"),
        (_altered(written, path, format_version="2"), "another version"),
    ]:
        with pytest.raises(InputError, match=message):
            read_checkpoint(other)
    for text in ("{", "[]", json.dumps(header), json.dumps({**header, "more": 1})):
        with pytest.raises(InputError, match="damaged"):
            read_checkpoint(_altered(written, path, checkpoint=text))

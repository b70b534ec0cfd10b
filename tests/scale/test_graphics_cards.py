"""A computer with several cards shares images out to one process for each."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from napari_ssim_defects.cli import main
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.scale import folders as graphics_cards
from napari_ssim_defects.scale.folders import several_cards, worker_per_card

distributed = pytest.importorskip("distributed")


@pytest.fixture
def three_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(graphics_cards, "choose_device", lambda name: torch.device("cuda"))


@pytest.mark.usefixtures("three_cards")
def test_each_card_is_used_unless_one_is_named_or_there_are_fewer_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert several_cards(None, 100) == several_cards("auto", 100) == ("0", "1", "2")
    assert several_cards("cuda", 2) == ("0", "1")
    assert several_cards("cuda:1", 100) == several_cards("cpu", 100) == several_cards(None, 1) == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 6,7")
    assert several_cards(None, 100) == ("4", "6", "7")


def test_without_several_cards_nothing_is_started() -> None:
    if torch.cuda.device_count() < 2:
        assert several_cards(None, 100) == ()
    with worker_per_card(()) as address:
        assert address is None


def test_each_worker_sees_one_card() -> None:
    with worker_per_card(("4", "6")) as address, distributed.Client(address) as client:
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
    assert sorted(seen.values()) == ["4", "6"]


def test_the_command_shares_images_out_to_all_cards(
    grey_model: DefectModel,
    material: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grey_model.save(tmp_path / "model.safetensors")
    for number in range(3):
        Image.fromarray(material(number, spoilt=True)).save(tmp_path / f"{number}.png")
    command = ["detect", str(tmp_path / "model.safetensors"), str(tmp_path), "-o"]
    assert main([*command, str(tmp_path / "one")]) == 0
    asked = []

    def cards(device: str | None, images: int) -> tuple[str, ...]:
        asked.append((device, images))
        return ("0", "1")

    monkeypatch.setattr(graphics_cards, "several_cards", cards)
    assert main([*command, str(tmp_path / "two")]) == 0
    assert asked == [(None, 3)]
    for number in range(3):
        name = f"{number}.residual.ome.tif"
        one, two = (read_image(tmp_path / folder / name).data for folder in ("one", "two"))
        np.testing.assert_allclose(one, two, atol=1e-5)

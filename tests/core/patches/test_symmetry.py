"""Mirror images and turns that a material cannot be told from."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import AugmentationConfig, TrainingConfig
from napari_ssim_defects.core.detection.reconstruction import reconstruct_plane
from napari_ssim_defects.core.networks.texture import TextureModel, fit_texture
from napari_ssim_defects.core.patches.areas import TrainingArea
from napari_ssim_defects.core.patches.patch_source import PatchSource
from napari_ssim_defects.core.patches.symmetry import (
    find_symmetries,
    orientation_at,
    orientations_of,
    oriented,
)
from napari_ssim_defects.core.training.messages import TrainingCheckpoint
from napari_ssim_defects.core.training.train import train

ALL = orientations_of(AugmentationConfig(flips=True, quarter_turns=True))
CPU = torch.device("cpu")


def material(blur, seed=0, side=192):
    """Noise blurred by so many pixels down and to the right."""
    noise = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, blur, mode="wrap")
    return smooth / smooth.std()


def slanted(seed=0):
    """Material whose rows are shifted: lines from the upper left to the lower right."""
    rows = material((1, 4), seed)
    return np.stack([np.roll(row, 2 * place) for place, row in enumerate(rows)])


def found(image, other, allowed=None):
    texture = TextureModel(1)
    list(fit_texture(texture, [TrainingArea(image[None])], 0))
    return find_symmetries(texture, [TrainingArea(other[None], allowed)])


def test_isotropic_material_has_all_symmetries():
    assert found(material(1.5), material(1.5, seed=1)) == (True, True)


def test_brushed_material_may_be_mirrored_but_not_turned():
    assert found(material((6, 1)), material((6, 1), seed=1)) == (True, False)


def test_slanted_material_has_none():
    assert found(slanted(), slanted(seed=1)) == (False, False)


def test_pixels_that_are_not_good_do_not_count():
    other = material((6, 1), seed=1)
    other[:140] = np.nan
    allowed = np.zeros(other.shape, bool)
    allowed[160:] = True
    assert found(material((6, 1)), other, allowed) == (True, False)
    assert found(material((6, 1)), other, np.zeros_like(allowed)) == (False, False)


def test_orientations_are_the_symmetries_of_a_square():
    patch = torch.arange(16.0).reshape(1, 4, 4)
    images = {tuple(oriented(patch, k).flatten().tolist()) for k in ALL}
    expected = {
        tuple(torch.rot90(image, turn, (-2, -1)).flatten().tolist())
        for image, turn in itertools.product((patch, patch.flip(-1)), range(4))
    }
    assert images == expected
    turns = orientations_of(AugmentationConfig(quarter_turns=True))
    assert [torch.equal(oriented(patch, k), torch.rot90(patch, i, (-2, -1)))
            for i, k in enumerate(turns)] == [True] * 4  # fmt: skip


@pytest.mark.parametrize("among", [(0,), (0, 1, 2, 3), ALL])
def test_neighbours_are_seen_in_all_orientations_equally(among):
    for top, left in itertools.product(range(5), range(5)):
        seen = [
            orientation_at(row, column, among)
            for row in range(top, top + 4) for column in range(left, left + 2)
        ]  # fmt: skip
        assert {seen.count(orientation) for orientation in among} == {8 // len(among)}


def test_patches_are_augmented_in_the_orientations_that_are_detected_in():
    area = TrainingArea(np.arange(64.0, dtype=np.float32).reshape(1, 8, 8))
    source = PatchSource([area], 8, AugmentationConfig(flips=True), CPU)
    patches = source.cut_augmented(np.zeros((40, 3), np.int64), np.random.default_rng(0))
    images = {tuple(oriented(torch.as_tensor(area.pixels), k).flatten().tolist()) for k in range(4)}
    assert {tuple(patch.flatten().tolist()) for patch in patches} == images


class Drifting(torch.nn.Module):
    """Shows whatever it sees one pixel further to the right."""

    def forward(self, patches):
        return patches.roll(1, -1)


def whole(network, plane, orientations):
    steps = reconstruct_plane(network, plane, 16, 4, CPU, orientations)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_what_a_network_does_to_one_side_evens_out_over_the_orientations():
    plane = np.zeros((1, 48, 48), np.float32)
    plane[0, 20, 22] = 1
    np.testing.assert_allclose(whole(torch.nn.Identity(), plane, ALL), plane, atol=1e-6)
    for orientations, place in (((0,), (20, 23)), ((0, 1, 2, 3), (20, 22)), (ALL, (20, 22))):
        shown = whole(Drifting(), plane, orientations)[0]
        assert ndimage.center_of_mass(shown) == pytest.approx(place)


CONFIG = TrainingConfig(
    patch_size=16, latent_dimension=8, batch_size=2, patches=16, epochs=1, stride=8,
    ssim={"window_size": 7}, texture=True, augmentation={"symmetries": True},
)  # fmt: skip


@pytest.mark.slow
def test_a_training_finds_its_symmetries_and_the_model_says_which():
    messages = list(train([material((6, 1))], CONFIG, device="cpu"))
    model = messages[-1].model
    assert model.config.augmentation == AugmentationConfig(symmetries=True, flips=True)
    image = material((6, 1), seed=1)
    upright = replace(model, config=model.config.replace(augmentation=AugmentationConfig()))
    assert not np.array_equal(model.residual(image), upright.residual(image))
    (state,) = [m.state for m in messages if isinstance(m, TrainingCheckpoint)][-1:]
    assert state.config == CONFIG  # what was asked for, so that it can be resumed
    again = list(train([material((6, 1))], CONFIG, device="cpu", state=state))[-1].model
    assert again.config == model.config
    np.testing.assert_array_equal(again.residual(image), model.residual(image))


def test_images_without_room_for_a_patch_are_refused_before_a_texture_is_learnt():
    with pytest.raises(InputError, match="has room for a patch"):
        next(train([material(1, side=12)], CONFIG, device="cpu"))


def test_symmetries_need_a_texture():
    with pytest.raises(InputError, match="texture=True"):
        TrainingConfig(augmentation={"symmetries": True})

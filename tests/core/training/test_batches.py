from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_ssim_defects.core.config import AugmentationConfig
from napari_ssim_defects.core.patches.areas import TrainingArea
from napari_ssim_defects.core.patches.patch_source import PatchSource
from napari_ssim_defects.core.training.loader import PatchSampler

NONE = AugmentationConfig()
EVERYTHING = AugmentationConfig(
    flips=True, quarter_turns=True, rotation=5, scale=0.1, brightness=0.1, contrast=0.1
)


def batches_of(patches=100, fixed=False, seed=0, augmentation=NONE):
    """Batches of an area whose channels are the coordinates of each pixel."""
    area = TrainingArea(np.mgrid[:60, :60].astype(np.float32))
    source = PatchSource([area], 8, augmentation, torch.device("cpu"))
    return PatchSampler(source, patches, fixed, seed)


def in_turn(batches, size, count):
    """All batches until so many patches were seen."""
    seen, found = 0, []
    while seen < count:
        found.append(batches.after(seen, size).numpy())
        seen += len(found[-1])
    return found


def corners(found):
    return np.concatenate(found)[:, :, 0, 0].astype(int).tolist()


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("augmentation", [NONE, EVERYTHING])
def test_same_seed_gives_the_same_batches(fixed, augmentation):
    def found(seed):
        batches = batches_of(12, fixed, seed, augmentation)
        return np.concatenate(in_turn(batches, 5, 24))

    np.testing.assert_array_equal(found(1), found(1))
    assert not np.array_equal(found(1), found(2))


@pytest.mark.parametrize("fixed", [False, True])
def test_a_batch_depends_on_what_was_seen_and_on_nothing_before(fixed):
    used = batches_of(12, fixed, augmentation=EVERYTHING)
    in_turn(used, 5, 24)
    fresh = batches_of(12, fixed, augmentation=EVERYTHING)
    np.testing.assert_array_equal(fresh.after(16, 5), used.after(16, 5))


@pytest.mark.parametrize(("size", "patches"), [(16, 64), (16, 50), (16, 33), (7, 3), (1, 4)])
@pytest.mark.parametrize("fixed", [False, True])
def test_epoch_has_its_number_of_patches_in_full_batches(size, patches, fixed):
    sizes = [len(batch) for batch in in_turn(batches_of(patches, fixed), size, 2 * patches)]
    for epoch in (sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :]):
        assert sum(epoch) == patches
        assert max(epoch) <= size
        # A last batch of one patch would leave batch normalisation nothing to normalise by.
        assert max(epoch) - min(epoch) <= 1


def test_smaller_batches_go_on_in_the_same_epoch():
    first = batches_of(40).after(0, 16).numpy()
    rest, seen = [], len(first)
    while seen < 40:
        rest.append(batches_of(40).after(seen, 4).numpy())
        seen += len(rest[-1])
    assert seen == 40
    assert max(len(batch) for batch in rest) <= 4
    assert corners([first, *rest]) == corners(in_turn(batches_of(40), 16, 40))


def test_fixed_patches_are_the_same_in_every_epoch_in_another_order():
    found = corners(in_turn(batches_of(100, fixed=True), 16, 200))
    first, second = found[:100], found[100:]
    assert sorted(first) == sorted(second)
    assert first != second


def test_other_patches_are_new_in_every_epoch():
    found = corners(in_turn(batches_of(100), 16, 200))
    assert sorted(found[:100]) != sorted(found[100:])

from __future__ import annotations

import pytest
import torch

from napari_ssim_defects.core.config import AugmentationConfig, TrainingConfig
from napari_ssim_defects.core.patches.areas import TrainingArea
from napari_ssim_defects.core.patches.patch_source import PatchSource
from napari_ssim_defects.core.training import loader
from napari_ssim_defects.core.training.loader import BatchLoader, PatchSampler, step_seed
from napari_ssim_defects.core.training.losses import Criterion

CPU = torch.device("cpu")
PROCESSOR, CARD = 1, 8  # batches painted at once
PAINTED = TrainingConfig(patch_size=16, discriminator=True, restoration=True, batch_size=4)
PLAIN = PAINTED.replace(discriminator=False, restoration=False)


class Counted(Criterion):
    """An objective that counts how often it paints."""

    times = 0

    def corrupt(self, squares):
        type(self).times += 1
        return super().corrupt(squares)


@pytest.fixture
def batches(grating):
    def make():
        area = TrainingArea(grating(96, 128)[None])
        source = PatchSource([area], 32, AugmentationConfig(), CPU)
        return PatchSampler(source, 22, False, 0)  # the last batch of an epoch is smaller

    return make


@pytest.fixture
def feeding(batches, monkeypatch):
    def make(config, at_once):
        monkeypatch.setattr(Counted, "times", 0)
        return BatchLoader(batches(), Counted(config, torch.Generator()), at_once)

    return make


def drawn(feeding, count, size=4, seen=0):
    """Batches one after the other, as steps ask for them, and the number of patches in all."""
    found = []
    for _ in range(count):
        feeding.criterion.generator.manual_seed(step_seed(PAINTED.seed, seen))
        found.append(feeding.load(seen, size))
        seen += len(found[-1][0])
    return found, seen


@pytest.mark.parametrize("at_once", [PROCESSOR, CARD])
def test_batches_come_in_their_order_across_epochs(feeding, batches, at_once):
    expected, seen = batches(), 0
    for squares, corruption in drawn(feeding(PAINTED, at_once), 14)[0]:
        assert torch.equal(squares, expected.after(seen, 4))
        seen += len(squares)
        assert corruption.varied.shape == corruption.corrupted.shape == squares.shape
        assert corruption.mask.shape == (len(squares), 1, 32, 32)
        changed = (corruption.corrupted != corruption.varied).any(1, keepdim=True)
        assert changed[corruption.mask > 0].all()
        assert squares.is_contiguous(memory_format=torch.channels_last)
    assert seen > 2 * 22


def test_on_a_processor_the_painting_follows_from_the_seed_and_the_patches_seen(feeding, batches):
    criterion = Criterion(PAINTED, torch.Generator())
    seen = 0
    for squares, corruption in drawn(feeding(PAINTED, PROCESSOR), 7)[0]:
        criterion.generator.manual_seed(step_seed(PAINTED.seed, seen))
        expected = criterion.corrupt(squares)
        assert torch.equal(corruption.corrupted, expected.corrupted)
        assert torch.equal(corruption.mask, expected.mask)
        seen += len(squares)
    assert Counted.times == 7


def test_a_card_paints_many_batches_at_once(feeding):
    found, _ = drawn(feeding(PAINTED, CARD), 16)
    assert Counted.times == 2
    marked = [corruption.mask.mean() for _, corruption in found]
    assert len({float(part) for part in marked}) > 12  # each batch has a painting of its own


def test_a_card_that_is_asked_for_less_or_for_others_begins_anew(feeding, batches):
    feeding = feeding(PAINTED, CARD)
    _, seen = drawn(feeding, 2)
    (squares, corruption), *_ = drawn(feeding, 1, size=2, seen=seen)[0]
    assert torch.equal(squares, batches().after(seen, 2))
    assert len(corruption.mask) == len(squares) <= 2
    (squares, _), *_ = drawn(feeding, 1, size=2, seen=0)[0]
    assert torch.equal(squares, batches().after(0, 2))


def test_a_card_that_has_little_memory_paints_as_a_processor_does(feeding):
    expected, _ = drawn(feeding(PAINTED, PROCESSOR), 6)
    feeding = feeding(PAINTED, CARD)
    _, seen = drawn(feeding, 2)
    assert feeding.disable_prefetch()
    assert not feeding.disable_prefetch()  # nothing more to be had
    for (_, found), (_, wanted) in zip(drawn(feeding, 4, seen=seen)[0], expected[2:], strict=True):
        assert torch.equal(found.corrupted, wanted.corrupted)


@pytest.mark.parametrize("at_once", [PROCESSOR, CARD])
def test_what_else_is_random_in_a_step_follows_from_the_patches_seen(batches, at_once):
    """Latent samples of a variational autoencoder, which come after the painting."""
    criterion = Criterion(PAINTED, torch.Generator())
    feeding = BatchLoader(batches(), criterion, at_once)
    numbers = []
    for start in (0, 4):  # the second time, as after an interruption
        feeding.disable_prefetch()
        drawn(feeding, 1, seen=start)
        if start == 0:
            drawn(feeding, 1, seen=4)
        numbers.append(torch.rand(3, generator=criterion.generator))
    assert torch.equal(*numbers)


def test_squares_that_are_painted_at_once_are_not_too_many(feeding, monkeypatch):
    monkeypatch.setattr(loader, "_PIXELS", 3 * 4 * 32 * 32)
    drawn(feeding(PAINTED, CARD), 6)
    assert Counted.times == 2


@pytest.mark.parametrize("at_once", [PROCESSOR, CARD])
def test_nothing_is_painted_where_nothing_is_to_be(feeding, at_once):
    assert {corruption for _, corruption in drawn(feeding(PLAIN, at_once), 5)[0]} == {None}
    assert Counted.times == 0

"""A training with the whole ensemble: features, discriminator, texture and reconstruction."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.common.progress import DetectionProgress, PreparationProgress
from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.model.calibrate import calibrate
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.model.thresholds import FixedThreshold
from napari_ssim_defects.core.patches import patch_source
from napari_ssim_defects.core.training import schedule, trainer, validation
from napari_ssim_defects.core.training import train as training
from napari_ssim_defects.core.training.loader import GPU_PREFETCH_BATCHES, BatchLoader
from napari_ssim_defects.core.training.losses import Criterion
from napari_ssim_defects.core.training.messages import (
    TrainingCheckpoint,
    TrainingFinished,
    TrainingNotice,
    TrainingStarted,
)
from napari_ssim_defects.core.training.train import train
from napari_ssim_defects.core.training.validation import Validation

pytestmark = pytest.mark.slow

CONFIG = TrainingConfig(
    patch_size=16, latent_dimension=8, batch_size=2, patches=40, epochs=8, stride=8,
    learning_rate=5e-3, ssim={"window_size": 7}, discriminator=True, features=True, texture=True,
    residual=TrainingConfig.preset("quick").residual, validation=0.25,
)  # fmt: skip


@pytest.fixture(scope="module")
def messages(grating):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "_VALIDATIONS", 5)  # they take longer than the steps
        # The skill of the discriminator decides whether it takes part.
        patch.setattr(patch_source, "_FIXED_PATCHES", 64)
        patch.setattr(validation, "_CORRUPTED", 64)
        return list(train([grating(96, 128), grating(96, 128, phase=1)], CONFIG, device="cpu"))


@pytest.fixture(scope="module")
def model(messages):
    return messages[-1].model


def test_features_and_texture_are_learnt_before_the_first_step(messages):
    first = next(i for i, m in enumerate(messages) if isinstance(m, TrainingStarted))
    assert first > 1
    assert {type(message) for message in messages[:first]} == {PreparationProgress}
    assert list(dict.fromkeys(message.text for message in messages[:first])) == [
        "Learning the features",
        "Learning the texture",
    ]


def test_rarity_counts_decades_of_good_pixels_that_were_held_out(model):
    assert model.config.residual.is_measured
    assert model.calibration.held_out
    assert model.calibration.pixels == 2 * 96 * 32  # a band of each image, a square wide
    for decades in (1, 2):
        rate = model.calibration.false_positive_rate(decades)
        assert rate == pytest.approx(10.0**-decades, rel=0.1)
    assert model.calibration.regions_per_image(model.auto_threshold) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(("most", "smaller"), [(4, False), (2, True)])
def test_where_memory_runs_out_less_is_painted_before_batches_get_smaller(
    grating, monkeypatch, most, smaller
):
    """As on a card, on which many batches are painted at once."""
    sizes = []

    def no_skills(self, network):
        return {}, []
        yield

    class Scarce(Criterion):
        def corrupt(self, squares):
            sizes.append(len(squares))
            if len(squares) > most:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return super().corrupt(squares)

    monkeypatch.setattr(training, "Criterion", Scarce)
    monkeypatch.setattr(Validation, "loss", lambda self, network: None)
    monkeypatch.setattr(Validation, "skills", no_skills)
    monkeypatch.setattr(
        training,
        "BatchLoader",
        lambda *arguments: BatchLoader(*arguments[:2], at_once=GPU_PREFETCH_BATCHES),
    )
    config = CONFIG.replace(batch_size=4, epochs=1)
    messages = list(train([grating(96, 128)], config, device="cpu"))
    notices = [m.text for m in messages if isinstance(m, TrainingNotice)]
    assert (
        any("for 4 patches at once; the training continues with 2" in n for n in notices) == smaller
    )
    assert sizes[0] > 4
    assert sizes.count(4) == (1 if smaller else 10)
    assert isinstance(messages[-1], TrainingFinished)
    assert messages[-1].model.history[-1].step == (20 if smaller else 10)


def test_a_training_that_had_too_little_memory_goes_on_with_less_at_once(grating, monkeypatch):
    feeds = []

    def feeding(*arguments):
        feeds.append(BatchLoader(*arguments[:2], at_once=GPU_PREFETCH_BATCHES))
        return feeds[-1]

    config = CONFIG.replace(batch_size=4)
    images = [grating(96, 128)]
    steps = train(images, config, device="cpu")
    state = next(m for m in steps if isinstance(m, TrainingCheckpoint)).state
    loop_state = state.loop_state.replace(batch_size=2)
    steps.close()
    monkeypatch.setattr(training, "BatchLoader", feeding)
    resumed = train(images, config, device="cpu", state=replace(state, loop_state=loop_state))
    next(m for m in resumed if isinstance(m, TrainingStarted))
    resumed.close()
    assert not feeds[0].disable_prefetch()  # it does already


def test_the_autoencoder_misses_steps_once_it_has_learned_something(grating, monkeypatch):
    monkeypatch.setattr(trainer, "_VALIDATIONS", 5)  # every eighth step
    monkeypatch.setattr(schedule, "LEARNED_SKILL", -9.0)
    config = CONFIG.replace(reconstruction_interval=4, epochs=2)
    learned = []

    class Recorded(Criterion):
        def __call__(
            self, network, patches, corruption=None, *, untrained=False, train_autoencoder=True
        ):
            if network.training:
                learned.append(
                    "all" if untrained else "in turn" if train_autoencoder else "discriminator"
                )
            return super().__call__(
                network,
                patches,
                corruption,
                untrained=untrained,
                train_autoencoder=train_autoencoder,
            )

    monkeypatch.setattr(training, "Criterion", Recorded)
    *_, last = train([grating(96, 128), grating(96, 128, phase=1)], config, device="cpu")
    turn = ["in turn", *3 * ["discriminator"]]
    assert learned == [*8 * ["all"], *8 * turn]
    assert np.isfinite([entry.loss for entry in last.model.history]).all()


def test_without_a_discriminator_the_autoencoder_misses_no_step(grating, monkeypatch):
    monkeypatch.setattr(schedule, "LEARNED_SKILL", -9.0)
    alone = CONFIG.replace(
        discriminator=False, features=False, texture=False, residual=TrainingConfig().residual,
        epochs=1,
    )  # fmt: skip
    *_, every = train([grating(96, 128)], alone, device="cpu")
    *_, fourth = train([grating(96, 128)], alone.replace(reconstruction_interval=4), device="cpu")
    losses = [[entry.loss for entry in last.model.history] for last in (every, fourth)]
    assert losses[0] == losses[1]
    assert TrainingConfig.preset("best", system="l2").reconstruction_interval == 1


@pytest.mark.parametrize(
    "kind", ["rarity", "ssim", "squared_error", "discriminator", "features", "texture"]
)
@pytest.mark.filterwarnings("ignore:image looks unlike")
def test_each_member_scores_by_itself(model, grating, kind):
    image = grating(96, 128)
    other = model.with_residual(kind)
    residual = other.residual(image)
    assert residual.shape == image.shape
    assert residual.min() >= 0
    image[40:56, 60:80] = 2.0
    spoilt = other.residual(image)
    if kind not in ("ssim", "squared_error"):  # a reconstruction takes longer to learn
        assert spoilt[44:52, 66:74].mean() > 1.05 * residual[44:52, 66:74].mean()


def test_progress_is_told_within_the_first_of_the_images(model, grating):
    told = [m.fraction for m in model.detect(grating(60, 80)) if isinstance(m, DetectionProgress)]
    assert 0 < told[0] < 0.5
    assert told == sorted(told)
    assert told[-1] == 1


class Refusing(torch.nn.Module):
    def forward(self, patches):
        raise AssertionError("not needed")


def test_members_that_a_residual_does_not_need_are_not_computed(model, grating):
    network = copy.deepcopy(model.network)
    network.backbone = network.discriminator = network.texture = Refusing()
    partial = replace(model, network=network).with_residual("ssim")
    image = grating(50, 70)
    np.testing.assert_array_equal(
        partial.residual(image), model.with_residual("ssim").residual(image)
    )
    network = copy.deepcopy(model.network)
    network.encoder = network.texture = Refusing()
    partial = replace(model, network=network).with_residual("features")
    np.testing.assert_array_equal(
        partial.residual(image), model.with_residual("features").residual(image)
    )
    *_, inspected = partial.detect(image)
    assert inspected.reconstruction is None


@pytest.mark.filterwarnings("ignore:image looks unlike")
def test_model_file_gives_back_the_same_rarity(model, grating, tmp_path):
    model.save(tmp_path / "model.safetensors")
    read = DefectModel.load(tmp_path / "model.safetensors")
    assert read.config == model.config
    image = grating(50, 70)
    np.testing.assert_array_equal(read.residual(image), model.residual(image))


def test_model_file_whose_rarity_was_not_measured_is_refused(model, tmp_path):
    config = model.config.replace(residual=CONFIG.residual)
    replace(model, config=config).save(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="damaged"):
        DefectModel.load(tmp_path / "model.safetensors")


def test_other_good_images_measure_the_rarity_anew(model, grating):
    fixed = replace(model, threshold=FixedThreshold(value=2.5))
    steps = calibrate(fixed, [grating(96, 128) + np.float32(0.2)])
    while True:
        try:
            next(steps)
        except StopIteration as end:
            other = end.value
            break
    assert other.config.residual.levels != model.config.residual.levels
    members, before = other.config.residual.members, model.config.residual.members
    assert [(v.residual, v.weight) for v in members] == [(v.residual, v.weight) for v in before]
    assert other.calibration.false_positive_rate(2) == pytest.approx(0.01, rel=0.1)
    assert other.threshold == FixedThreshold(value=2.5)  # means what it did


def test_images_with_room_for_a_patch_only_are_trained_on(grating):
    (*_, last) = train([grating(20, 24)], CONFIG.replace(epochs=1, patches=4), device="cpu")
    assert last.model.residual(grating(20, 24)).shape == (20, 24)


def test_a_training_without_an_ensemble_is_that_of_before(grating):
    plain = CONFIG.replace(
        discriminator=False, features=False, texture=False, residual=TrainingConfig().residual,
        epochs=1,
    )  # fmt: skip
    (*_, last) = train([grating(96, 128)], plain, device="cpu")
    names = last.model.network.state_dict()
    assert not [
        n for n in names if n.startswith(("backbone", "discriminator", "features", "texture"))
    ]
    assert [s.residual.kind for s in last.model.calibrated_residuals] == ["ssim", "squared_error"]

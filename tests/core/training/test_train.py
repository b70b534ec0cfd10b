from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.common.progress import CalibrationProgress, PreparationProgress
from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.evaluation.scores import evaluate
from napari_ssim_defects.core.model.calibration import Calibration
from napari_ssim_defects.core.training import losses, schedule, trainer, validation
from napari_ssim_defects.core.training import train as training
from napari_ssim_defects.core.training.losses import training_loss
from napari_ssim_defects.core.training.messages import (
    TrainingCheckpoint,
    TrainingFinished,
    TrainingNotice,
    TrainingPreview,
    TrainingStarted,
    TrainingStep,
)
from napari_ssim_defects.core.training.train import STOP, train

TINY = TrainingConfig(
    name="tiny", patch_size=16, latent_dimension=8, batch_size=8, patches=40, epochs=4, stride=8,
    learning_rate=5e-3, ssim={"window_size": 7}, residual={"kind": "ssim"},
)  # fmt: skip
SHORT = TINY.replace(epochs=1)  # five steps


def finished(messages):
    *_, last = messages
    assert isinstance(last, TrainingFinished)
    return last.model


def same_weights(first, second):
    first, second = first.network.state_dict(), second.network.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


class Clock:
    """Time that passes only as the work is done: the same on every machine."""

    def __init__(self, step=0.01, look=0.01, first=0.0):
        self.now, self.seconds, self.first = 0.0, {True: step, False: look}, first

    def perf_counter(self):
        return self.now

    def loss(self, patches, reconstructions, config):
        self.now += self.seconds[reconstructions.requires_grad] + self.first
        self.first = 0.0
        return training_loss(patches, reconstructions, config)


@pytest.fixture
def clock(monkeypatch):
    def start(**seconds):
        clock = Clock(**seconds)
        monkeypatch.setattr(trainer, "time", clock)
        monkeypatch.setattr(losses, "training_loss", clock.loss)
        return clock

    return start


@pytest.fixture(scope="module")
def messages(grating):
    return list(train([grating(), grating(48, 80)], TINY, device="cpu"))


def test_messages_come_in_their_order(messages):
    kinds = [type(message) for message in messages]
    working = (TrainingStep, TrainingPreview, TrainingCheckpoint)
    phases = [TrainingStarted, working, CalibrationProgress]
    assert kinds[0] is TrainingStarted
    assert kinds[-1] is TrainingFinished
    order = [
        next(i for i, phase in enumerate(phases) if isinstance(message, phase))
        for message in messages[:-1]
    ]
    assert order == sorted(order)
    assert {*kinds} == {TrainingStarted, *working, CalibrationProgress, TrainingFinished}
    assert [kind for kind in kinds if kind in working][-2:] == [TrainingStep, TrainingCheckpoint]


def test_start_says_what_is_trained(messages):
    started = messages[0]
    assert (started.device, started.planes) == ("cpu", 2)
    assert started.precision == "float32"
    network = messages[-1].model.network
    assert started.parameters == sum(p.numel() for p in network.parameters())


def test_steps_count_up_to_the_last_of_all_epochs(messages):
    steps = [message for message in messages if isinstance(message, TrainingStep)]
    assert steps[-1].step == 4 * 5
    assert steps[-1].fraction == 1
    assert steps[-1].remaining == 0
    for before, after in itertools.pairwise(steps):
        assert before.step <= after.step
        assert before.fraction <= after.fraction
        assert before.elapsed <= after.elapsed
    for message in steps:
        assert np.isfinite(message.loss)
        assert message.patches_per_second > 0
        assert message.remaining >= 0


def test_preview_shows_the_same_patches_every_time(messages):
    previews = [message for message in messages if isinstance(message, TrainingPreview)]
    assert len(previews) > 3
    for preview in previews:
        assert preview.patches.shape == preview.reconstructions.shape == (4, 1, 16, 16)
        assert preview.residuals.shape == (4, 16, 16)
        np.testing.assert_array_equal(preview.patches, previews[0].patches)
    assert not np.array_equal(previews[0].reconstructions, previews[-1].reconstructions)


def test_calibration_is_reported_to_its_end(messages):
    fractions = [m.fraction for m in messages if isinstance(m, CalibrationProgress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_model_carries_its_recipe_and_history(messages):
    model = messages[-1].model
    assert not messages[-1].stopped
    assert model.config == TINY
    assert (model.channels, model.channel_axis) == (1, None)
    assert not model.network.training
    assert {p.device.type for p in model.network.parameters()} == {"cpu"}
    assert [entry.step for entry in model.history] == list(range(1, 21))
    assert all(np.isfinite([entry.loss, entry.seconds]).all() for entry in model.history)
    assert model.history[0].validation_loss is not None  # a band of each image is held out
    assert {"torch", "numpy", "device", "created", "training images"} <= set(model.provenance)
    assert {type(value) for value in model.provenance.values()} == {str}


def test_validation_loss_is_that_of_the_last_look(messages):
    model = messages[-1].model
    known = {entry.validation_loss for entry in model.history}
    steps = [message for message in messages if isinstance(message, TrainingStep)]
    assert {step.validation_loss for step in steps} <= known | {None}
    assert steps[-1].validation_loss == model.history[-1].validation_loss


def test_model_is_ready_to_inspect(messages, grating):
    model = messages[-1].model
    residual = model.residual(grating())
    assert residual.shape == (64, 64)
    assert 0 < model.auto_threshold < 2


@pytest.mark.slow
@pytest.mark.parametrize("system", ["ssim", "l2", "vae"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_loss_falls_on_a_simple_texture(grating, system, batch_norm):
    config = TINY.replace(
        system=system, residual=TrainingConfig(system=system).residual, batch_norm=batch_norm,
        patch_size=32, latent_dimension=16, patches=64,
        epochs=20, learning_rate=2e-3,
    )  # fmt: skip
    history = finished(train([grating()], config, device="cpu")).history
    assert history[-1].loss < 0.8 * history[0].loss


@pytest.fixture(scope="module")
def learned(grating):
    """The messages of a training that learned its material."""
    config = TINY.replace(batch_size=16, patches=128, epochs=8)
    return list(train([grating(96, 96)], config, device="cpu"))


def test_defects_have_higher_residuals_than_the_texture(grating, learned):
    model = finished(learned)
    image, mask = grating(96, 96, phase=1.0), np.zeros((96, 96), bool)
    mask[40:56, 40:56] = True
    image[mask] = 0.5
    assert evaluate([model.residual(image)], [mask]).auroc > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fixed_patches": True, "schedule": "constant", "batch_norm": False},
        {"augmentation": {"flips": True, "rotation": 5, "scale": 0.05, "brightness": 0.1}},
    ],
)
def test_same_seed_gives_the_same_model(grating, changes):
    config = TINY.replace(epochs=2, patches=16, **changes)
    torch.manual_seed(1)
    first = finished(train([grating()], config, device="cpu"))
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002 - the global generators must not matter
    second = finished(train([grating()], config, device="cpu"))
    other = finished(train([grating()], config.replace(seed=1), device="cpu"))
    assert same_weights(first, second)
    assert not same_weights(first, other)
    assert [entry.loss for entry in first.history] == [entry.loss for entry in second.history]
    np.testing.assert_array_equal(first.calibration.thresholds, second.calibration.thresholds)


@pytest.mark.parametrize("kind", [TrainingStarted, TrainingPreview, TrainingStep])
def test_stop_ends_early_with_a_model(grating, kind):
    steps = train([grating()], TINY.replace(epochs=100), device="cpu")
    for message in steps:
        if isinstance(message, kind):
            break
    rest = [steps.send(STOP), *steps]
    assert isinstance(rest[-1], TrainingFinished)
    assert rest[-1].stopped
    assert sum(isinstance(message, TrainingStep) for message in rest) <= 1
    assert rest[-1].model.residual(grating()).shape == (64, 64)


def test_a_stop_after_the_last_step_does_not_make_the_training_one_that_ended_early(grating):
    steps = train([grating()], TINY, device="cpu")
    for message in steps:
        if isinstance(message, CalibrationProgress):
            break
    *_, last = [steps.send(STOP), *steps]
    assert not last.stopped


@pytest.mark.parametrize("count", [1, 2, 5])
def test_closing_throws_the_training_away(grating, count):
    steps = train([grating()], TINY, device="cpu")
    for _ in range(count):
        next(steps)
    steps.close()
    assert list(steps) == []


def test_nothing_is_computed_before_the_first_message_is_asked_for():
    train([np.zeros(3)], TINY)  # refused only when it starts


def output(model, preview):
    """What the model makes of the patches of a preview."""
    with torch.no_grad():
        return model.network(torch.as_tensor(preview.patches)).numpy()


def test_best_weights_are_kept(grating, monkeypatch):
    validations = iter([0.9, 0.2, 0.5, 0.4, *[0.6] * 100])

    def loss(patches, reconstructions, config):
        if reconstructions.requires_grad:
            return training_loss(patches, reconstructions, config)
        return torch.tensor(next(validations))

    monkeypatch.setattr(losses, "training_loss", loss)
    messages = list(train([grating()], SHORT, device="cpu"))
    previews = [message for message in messages if isinstance(message, TrainingPreview)]
    model = messages[-1].model
    assert [entry.validation_loss for entry in model.history][:3] == pytest.approx([0.9, 0.2, 0.5])
    np.testing.assert_allclose(output(model, previews[1]), previews[1].reconstructions, atol=1e-5)


def test_without_held_out_patches_the_last_weights_are_kept(grating):
    messages = list(train([grating()], SHORT.replace(validation=0), device="cpu"))
    steps = [message for message in messages if isinstance(message, TrainingStep)]
    previews = [message for message in messages if isinstance(message, TrainingPreview)]
    model = messages[-1].model
    assert {step.validation_loss for step in steps} == {None}
    assert {entry.validation_loss for entry in model.history} == {None}
    assert not model.calibration.held_out
    np.testing.assert_allclose(output(model, previews[-1]), previews[-1].reconstructions, atol=1e-5)


def test_calibration_is_measured_on_whole_images_that_were_held_out(grating):
    images = [grating() for _ in range(6)]
    model = finished(train(images, SHORT.replace(validation=0.2), device="cpu"))
    assert model.calibration.held_out
    assert model.calibration.pixels == 64 * 64


def test_calibration_is_measured_on_bands_that_were_held_out_of_few_images(grating):
    model = finished(train([grating()], SHORT.replace(validation=0.25), device="cpu"))
    assert model.calibration.held_out
    assert model.calibration.pixels == 16 * 64


def test_calibration_without_held_out_pixels_uses_all_good_ones(grating):
    mask = np.ones((64, 64), bool)
    mask[50:, 30:] = False
    model = finished(train([grating()], SHORT.replace(validation=0), masks=[mask], device="cpu"))
    assert model.calibration.pixels == mask.sum()
    residual = np.where(mask, model.residual(grating()), np.nan)
    expected = Calibration.from_residuals([residual], held_out=False)
    np.testing.assert_allclose(model.calibration.thresholds, expected.thresholds, atol=1e-5)


def test_images_without_good_pixels_do_not_spoil_the_calibration(grating, monkeypatch):
    monkeypatch.setattr(training, "_CALIBRATION_PIXELS", 64 * 64)  # time for one of them only
    images = [grating()] * 3
    masks = [np.zeros((64, 64), bool), np.ones((64, 64), bool), np.zeros((64, 64), bool)]
    config = SHORT.replace(validation=0)
    model = finished(train(images, config, masks=masks, device="cpu"))
    assert model.calibration.pixels == 64 * 64


@pytest.mark.slow
def test_time_budget_is_kept(grating, clock):
    clock(step=0.05, look=0.05)
    messages = list(train([grating()], TINY.replace(minutes=2 / 60, epochs=10**6), device="cpu"))
    steps = [message for message in messages if isinstance(message, TrainingStep)]
    assert steps[-1].fraction == 1
    assert 2 <= steps[-1].elapsed < 2.1
    for before, after in itertools.pairwise(steps):
        assert after.elapsed - before.elapsed < 0.5
        assert after.remaining == pytest.approx(2 - after.elapsed, abs=0.06)


def test_a_limit_of_minutes_ends_a_training_and_says_how_much_was_done(grating, clock):
    clock(step=0.05)
    config = TINY.replace(minutes=1 / 60, epochs=10)  # 40 steps, of which half fit in
    messages = list(train([grating()], config, device="cpu"))
    last = messages[-1]
    assert 0.1 < last.share < 0.9
    assert not last.stopped
    assert any(
        "limit of 0.0166667 minutes ended the training after" in text
        for text in last.model.warnings
    )
    assert any("resume it to continue" in m.text for m in messages if isinstance(m, TrainingNotice))


@pytest.mark.slow
def test_a_limit_that_is_not_reached_changes_nothing(grating):
    models = [
        list(train([grating()], SHORT.replace(minutes=minutes), device="cpu"))[-1]
        for minutes in (None, 1000.0)
    ]
    assert [last.share for last in models] == [1, 1]
    assert models[0].model.history[-1].step == models[1].model.history[-1].step
    assert not models[1].model.warnings or "limit" not in models[1].model.warnings[-1]


@pytest.mark.slow
def test_waiting_for_the_reader_does_not_count(grating, clock):
    time = clock(step=0.1)
    counted = []
    for pause in (0, 1000):
        for message in train([grating()], TINY.replace(minutes=1 / 60, epochs=10**6), device="cpu"):
            time.now += pause
            if isinstance(message, TrainingStep):
                last = message
        counted.append(last.step)
    assert counted[0] == counted[1]


@pytest.mark.slow
def test_slow_validation_leaves_time_to_train(grating, clock):
    clock(step=0.05, look=1.0)
    messages = list(train([grating()], TINY.replace(minutes=10 / 60, epochs=10**6), device="cpu"))
    history = messages[-1].model.history
    assert (np.diff([entry.step for entry in history]) > 0).all()
    steps = [message for message in messages if isinstance(message, TrainingStep)]
    assert steps[-1].step > 20


def test_real_time_budget_ends(grating):
    messages = list(train([grating()], TINY.replace(minutes=0.01, epochs=10**6), device="cpu"))
    assert isinstance(messages[-1], TrainingFinished)
    assert messages[-1].model.history


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "channel_axis", "channels", "stored"),
    [
        ((40, 50), None, 1, None),
        ((3, 40, 50), None, 1, None),
        ((40, 50, 3), None, 3, -1),
        ((40, 50, 4), None, 3, -1),
        ((40, 50, 4), -1, 4, -1),
        ((4, 40, 50), 0, 4, -3),
        ((2, 40, 50, 2), 3, 2, -1),
    ],
)
def test_every_kind_of_image_trains_and_is_inspected(rng, shape, channel_axis, channels, stored):
    image = rng.random(shape)
    before = image.copy()
    image.flags.writeable = False
    config = TINY.replace(epochs=1)
    model = finished(train([image], config, channel_axis=channel_axis, device="cpu"))
    assert (model.channels, model.channel_axis) == (channels, stored)
    assert len(model.intensity.low) == channels
    assert model.residual(image).shape[-2:] == (40, 50)
    np.testing.assert_array_equal(image, before)


@pytest.mark.slow
def test_number_format_makes_no_difference(rng):
    image = rng.integers(0, 200, (40, 40))
    expected = finished(train([image.astype(np.float32)], SHORT, device="cpu"))
    for dtype in (np.uint8, np.uint16, ">i4", np.float16, np.float64):
        model = finished(train([image.astype(dtype)], SHORT, device="cpu"))
        assert same_weights(model, expected), dtype


@pytest.mark.slow
def test_brightness_and_contrast_of_the_images_make_no_difference(rng):
    image, config = rng.integers(0, 256, (40, 40)), SHORT
    expected = finished(train([image], config, device="cpu"))
    model = finished(train([1024 + 4 * image], config, device="cpu"))
    assert model.calibration.thresholds == pytest.approx(expected.calibration.thresholds, abs=1e-3)


@pytest.mark.slow
def test_dask_images_train_like_numpy_images(rng):
    array = pytest.importorskip("dask.array")
    image, config = rng.random((2, 40, 40)), SHORT
    lazy = array.from_array(image, chunks=(1, 20, 40))
    assert same_weights(
        finished(train([lazy], config, device="cpu")),
        finished(train([image], config, device="cpu")),
    )


@pytest.mark.slow
@pytest.mark.parametrize("leading", [(), (2,)])
def test_pixels_outside_the_masks_are_never_trained_on(rng, leading):
    image, mask = rng.random((*leading, 64, 64)), np.zeros((64, 64), bool)
    mask[8:40, 20:60] = True
    image[..., 20, 30:32] = 0, 1  # so that the range of intensities stays the same
    config = SHORT.replace(
        validation=0, intensity_percentiles=(0, 100),
        augmentation={"rotation": 10, "scale": 0.1},
    )  # fmt: skip
    first, second = (
        finished(train([picture], config, masks=[mask], device="cpu"))
        for picture in (image, np.where(mask, image, 1 - image))
    )
    assert same_weights(first, second)


def test_masks_may_differ_from_plane_to_plane_and_be_missing(grating):
    masks = np.zeros((3, 64, 64), bool)
    masks[0, :30], masks[2] = True, True
    images = [np.stack([grating()] * 3), grating(40, 40)]
    config = TINY.replace(epochs=1, validation=0)
    model = finished(train(images, config, masks=[masks, None], device="cpu"))
    assert model.calibration.pixels == masks.sum() + 40 * 40


def test_masks_may_be_one_array(grating):
    masks = np.ones((2, 64, 64), bool)
    messages = train([grating(), grating()], TINY.replace(epochs=1), masks=masks, device="cpu")
    assert finished(messages).channels == 1


@pytest.mark.slow
def test_a_stop_while_the_texture_is_learnt_is_heeded(grating):
    steps = train([grating(64, 64)], TrainingConfig.preset("quick"), device="cpu")
    assert isinstance(next(steps), PreparationProgress)
    rest = [steps.send(STOP), *steps]
    assert not any(isinstance(message, TrainingStep) for message in rest)
    assert rest[-1].stopped


@pytest.mark.slow
def test_default_recipe_is_the_quick_preset(grating):
    steps = train([grating(128, 128)], device="cpu")
    next(steps)
    rest = [steps.send(STOP), *steps]
    quick = TrainingConfig.preset("quick")
    config = rest[-1].model.config
    assert config.residual.kind == "rarity"
    assert config.replace(residual=quick.residual) == quick  # that was measured


OK = np.random.default_rng(0).random((40, 40))
NAN = np.where(np.eye(40), np.nan, OK)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "no training image"),
        ([np.zeros(5)], {}, r"^Training image 1 has 1 dimension"),
        ([OK > 0.5], {}, r"^Training image 1 has dtype bool"),
        ([OK, OK + 1j], {}, r"^Training image 2 has dtype complex"),
        ([np.zeros((0, 40))], {}, r"^Training image 1 is empty"),
        ([OK, NAN], {}, r"^Training image 2 has NaN or infinite pixels"),
        ([np.ones((40, 40))], {}, "constant"),
        ([OK[:15]], {}, "room for a patch of 16 x 16"),
        ([OK], {"masks": [np.zeros((40, 40), bool)]}, "marked as free of defects"),
        ([OK, np.stack([OK] * 3, -1)], {}, "training image 1 has 1 and training image 2 has 3"),
        ([OK], {"channel_axis": 0}, "no axis 0 for channels"),
        ([OK], {"masks": [np.ones((39, 40), bool)]}, r"mask of training image 1 has shape \(39"),
        ([OK], {"masks": []}, "1 image but 0 masks"),
        ([OK, OK], {"masks": [None]}, "2 images but 1 mask"),
        ([OK, OK], {"names": ["a"]}, "2 images but 1 name"),
        ([OK], {"device": "cuda:99"}, "'cuda:99' is not available"),
        ([NAN], {"names": ["weave.tif"]}, r"^weave\.tif has NaN"),
    ],
)
def test_bad_input_is_named_before_anything_is_trained(images, options, message):
    with pytest.raises(InputError, match=message) as caught:
        next(train(images, TINY, **options))
    assert str(caught.value).endswith(".")


def test_a_diverging_training_says_so_and_never_ends_with_a_broken_model():
    config = TINY.replace(learning_rate=1e30, schedule="constant")
    messages: list[object] = []
    with pytest.raises(InputError, match="diverges at any learning rate"):
        messages.extend(train([OK], config))  # a list keeps what came before the error
    notices = [m.text for m in messages if isinstance(m, TrainingNotice)]
    assert notices
    assert all("diverged" in text for text in notices)


class Scarce:
    """A loss that needs more memory than there is for more patches than so many."""

    def __init__(self, most, *errors):
        self.most, self.errors, self.sizes = most, itertools.cycle(errors), []

    def loss(self, patches, reconstructions, config):
        if reconstructions.grad_fn is not None or not reconstructions.is_leaf:
            if len(patches) > self.most:
                raise next(self.errors)
            self.sizes.append(len(patches))
        return training_loss(patches, reconstructions, config)


OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    MemoryError(),
]


@pytest.mark.slow
@pytest.mark.parametrize("errors", [OUT_OF_MEMORY[:2], OUT_OF_MEMORY[2:]])
def test_too_little_memory_halves_the_batches_and_says_so(grating, monkeypatch, errors):
    monkeypatch.setattr(losses, "training_loss", Scarce(2, *errors).loss)
    config = TINY.replace(epochs=2, patches=16)
    messages = list(train([grating()], config, device="cpu"))
    notices = [m.text for m in messages if isinstance(m, TrainingNotice)][:2]
    assert "not enough memory for 8 patches at once; the training continues with 4" in notices[0]
    assert "continues with 2" in notices[1]
    steps = [message for message in messages if isinstance(message, TrainingStep)]
    assert steps[-1].fraction == 1
    assert steps[-1].step == 2 * 8
    assert messages[-1].model.history[-1].validation_loss is not None
    assert messages[-1].model.config == config


@pytest.mark.slow
def test_memory_that_runs_out_in_the_optimiser_is_made_up_for(grating, monkeypatch):
    """It makes room for the moments of one parameter after the other, at its first step."""
    real, left = torch.zeros_like, iter([True] * 5)

    def scarce(tensor, **options):
        if isinstance(tensor, torch.nn.Parameter) and next(left, None) is None:
            monkeypatch.setattr(torch, "zeros_like", real)
            raise OUT_OF_MEMORY[0]
        return real(tensor, **options)

    monkeypatch.setattr(torch, "zeros_like", scarce)
    messages = list(train([grating()], SHORT, device="cpu"))
    assert torch.zeros_like is real
    notices = [m.text for m in messages if isinstance(m, TrainingNotice)]
    assert "continues with 4" in notices[0]
    assert isinstance(messages[-1], TrainingFinished)


def test_too_little_memory_for_any_batch_is_one_sentence(grating, monkeypatch):
    monkeypatch.setattr(losses, "training_loss", Scarce(0, OUT_OF_MEMORY[0]).loss)
    with pytest.raises(InputError, match="choose smaller patches"):
        list(train([grating()], TINY, device="cpu"))


def test_any_other_error_is_raised(grating, monkeypatch):
    monkeypatch.setattr(losses, "training_loss", Scarce(2, RuntimeError("shapes differ")).loss)
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(train([grating()], TINY, device="cpu"))


def test_a_training_that_did_not_learn_says_so_and_its_model_too(rng):
    noise = rng.random((64, 64))  # nothing to learn from noise
    messages = list(train([noise], TINY, device="cpu"))
    (warning,) = messages[-1].model.warnings
    assert "did not learn the material" in warning
    assert [m.text for m in messages if isinstance(m, TrainingNotice)][-1] == warning


def test_a_training_that_learned_has_no_warning(learned):
    assert learned[-1].model.warnings == ()
    assert not any(isinstance(message, TrainingNotice) for message in learned)


def flat(patches, reconstructions, config):
    """A loss that nothing lowers, so that nothing is ever learned."""
    return 1 + 0 * training_loss(patches, reconstructions, config)


@pytest.mark.slow
def test_a_training_that_learns_nothing_begins_again_and_says_so(grating, monkeypatch):
    monkeypatch.setattr(schedule, "_FLAT_STEPS", 5)
    monkeypatch.setattr(losses, "training_loss", flat)
    monkeypatch.setattr(validation, "training_loss", flat)
    messages = list(train([grating()], TINY.replace(epochs=8), device="cpu"))
    notices = [m.text for m in messages if isinstance(m, TrainingNotice)]
    assert sum("starts again from other weights" in text for text in notices) == 2
    states = [m.state for m in messages if isinstance(m, TrainingCheckpoint)]
    assert states[-1].loop_state.schedule.attempt == 2


@pytest.mark.slow
def test_a_training_that_improves_no_more_ends_early_with_its_best_model(grating, monkeypatch):
    def loss(patches, reconstructions, config):
        if reconstructions.requires_grad:
            return training_loss(patches, reconstructions, config)
        return torch.tensor(next(validations))

    validations = iter([0.5, 0.2, *[0.3] * 100])
    monkeypatch.setattr(losses, "training_loss", loss)
    monkeypatch.setattr(schedule, "_PATIENT_STEPS", 0)
    monkeypatch.setattr(validation.Validation, "reconstruction_skill", lambda self, outputs: 0.5)
    messages = list(train([grating()], TINY.replace(epochs=20), device="cpu"))
    steps = [m for m in messages if isinstance(m, TrainingStep)]
    assert [m.text for m in messages if isinstance(m, TrainingNotice)] == [
        "The loss no longer improves; the training ends early."
    ]
    assert steps[-1].step < 0.5 * 20 * 5
    assert steps[-1].fraction == 1
    assert steps[-1].remaining == 0
    assert not messages[-1].stopped
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    previews = [message for message in messages if isinstance(message, TrainingPreview)]
    model = messages[-1].model
    np.testing.assert_allclose(output(model, previews[1]), previews[1].reconstructions, atol=1e-5)


@pytest.mark.slow
def test_slow_first_steps_do_not_spoil_the_time_left(grating, clock):
    clock(step=0.1, look=0.0, first=5.0)
    messages = train([grating()], TINY.replace(epochs=12), device="cpu")
    left = {m.step: m.remaining for m in messages if isinstance(m, TrainingStep)}
    for step, seconds in left.items():
        if step > 20:
            assert seconds == pytest.approx(0.1 * (60 - step), abs=0.01)


def test_the_intensity_range_comes_from_the_allowed_pixels_only():
    image = np.where(np.arange(64) < 32, OK[:1, :1], 1000.0) + np.resize(OK, (64, 64))
    mask = np.broadcast_to(np.arange(64) < 32, (64, 64))
    *_, last = train([image], SHORT, masks=[mask])
    assert last.model.intensity.high[0] < 500


def test_image_on_another_scale_is_told_before_the_training(grating):
    images = [100 * grating() + 20 for _ in range(4)]
    images[2] *= 255
    tiny = TrainingConfig(patch_size=16, latent_dimension=2, patches=8, epochs=1)
    messages = train(images, tiny, device="cpu", names=["'a'", "'b'", "'c'", "'d'"])
    first = next(messages)
    messages.close()
    assert isinstance(first, TrainingNotice)
    assert first.text.startswith("Intensities of 'c' (")
    assert "far outside those of the other images" in first.text


@pytest.mark.parametrize("count", [2, 4])
def test_images_of_two_bit_depths_are_refused_unless_their_numbers_are_alike(grating, count):
    images = [(100 * grating() + 20).astype(np.uint8) for _ in range(count)]
    tiny = TrainingConfig(patch_size=16, latent_dimension=2, patches=8, epochs=1)
    images[-1] = images[-1].astype(np.uint16) * 257
    with pytest.raises(InputError, match="lie far outside those of the other images"):
        next(train(images, tiny, device="cpu"))
    images[-1] = images[0].astype(np.float32)
    messages = train(images, tiny, device="cpu")
    assert not isinstance(next(messages), TrainingNotice)
    messages.close()


def test_an_image_that_is_too_small_is_told_the_patch_size_of_the_recipe(grating):
    config = TrainingConfig.preset("quick")
    with pytest.raises(InputError, match="room for a patch of 64 x 64 pixels"):
        list(train([grating(40, 40)], config, device="cpu"))

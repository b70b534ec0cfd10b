from __future__ import annotations

import pytest
from pydantic import ValidationError

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import (
    AugmentationConfig,
    SegmentationConfig,
    SquaredErrorResidual,
    SSIMConfig,
    SSIMResidual,
    TrainingConfig,
)
from napari_ssim_defects.core.config.presets import PRESETS


def test_there_are_three_presets():
    assert set(PRESETS) == {"quick", "best", "paper"}


@pytest.mark.parametrize("name", ["quick", "best", "paper"])
def test_preset_is_a_complete_recipe_that_names_itself(name):
    config = TrainingConfig.preset(name)
    assert config.name == name
    assert config.patch_size % 16 == 0
    assert config.stride <= config.patch_size


def test_quick_makes_a_thousand_steps_and_best_four_thousand_however_long_they_take():
    for name, steps in (("quick", 1000), ("best", 4000)):
        config = TrainingConfig.preset(name)
        assert config.minutes is None
        assert config.patches * config.epochs / config.batch_size == steps


def test_paper_preset_is_the_papers_experiment():
    config = TrainingConfig.preset("paper")
    assert config.system == "ssim"
    assert (config.patch_size, config.latent_dimension, config.batch_norm) == (128, 500, False)
    assert (config.patches, config.fixed_patches, config.epochs) == (20_000, True, 200)
    assert config.minutes is None
    assert (config.learning_rate, config.weight_decay) == (2e-4, 1e-5)
    assert config.schedule == "constant"
    assert config.ssim == SSIMConfig(window="uniform", window_size=11, constants="standard")
    assert config.residual == SSIMResidual(ssim=(config.ssim,), smoothing=0)
    assert config.augmentation == AugmentationConfig()
    assert config.augmentation.model_dump() == {
        "flips": False, "quarter_turns": False, "symmetries": False, "rotation": 0, "scale": 0,
        "brightness": 0, "contrast": 0,
    }  # fmt: skip
    assert config.validation == 0
    assert config.stride == 30


def test_default_post_processing_is_the_papers_without_its_hulls():
    assert SegmentationConfig().opening == 4
    assert not SegmentationConfig().convex_hull


def test_preset_takes_changes():
    config = TrainingConfig.preset("paper", latent_dimension=100, seed=7)
    assert (config.latent_dimension, config.seed, config.name) == (100, 7, "paper")
    assert config.replace(latent_dimension=500, seed=0) == TrainingConfig.preset("paper")


@pytest.mark.parametrize("name", ["quick", "best", "paper"])
def test_system_of_a_preset_brings_its_residual_along(name):
    ssim, l2 = TrainingConfig.preset(name), TrainingConfig.preset(name, system="l2")
    assert l2.residual == SquaredErrorResidual()
    assert TrainingConfig.preset(name, system="ssim") == ssim
    both = TrainingConfig.preset(name, system="l2", residual=SSIMResidual())
    assert both.residual == SSIMResidual()


def test_unknown_preset_lists_those_that_there_are():
    with pytest.raises(InputError, match=r"no preset 'fast'; choose one of quick, best, paper\."):
        TrainingConfig.preset("fast")


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        (TrainingConfig, "patch_size", 100),
        (TrainingConfig, "patch_size", 0),
        (TrainingConfig, "patch_size", 2048),
        (TrainingConfig, "latent_dimension", 0),
        (TrainingConfig, "batch_size", 0),
        (TrainingConfig, "batch_size", 1.5),
        (TrainingConfig, "patches", -1),
        (TrainingConfig, "epochs", 0),
        (TrainingConfig, "minutes", 0),
        (TrainingConfig, "minutes", float("inf")),
        (TrainingConfig, "minutes", float("nan")),
        (TrainingConfig, "learning_rate", 0),
        (TrainingConfig, "learning_rate", "fast"),
        (TrainingConfig, "weight_decay", -1e-5),
        (TrainingConfig, "validation", 0.6),
        (TrainingConfig, "intensity_percentiles", (99, 1)),
        (TrainingConfig, "intensity_percentiles", (50, 50)),
        (TrainingConfig, "intensity_percentiles", (1, 2, 3)),
        (TrainingConfig, "stride", 0),
        (TrainingConfig, "seed", -1),
        (TrainingConfig, "seed", 2**63),
        (TrainingConfig, "system", "gan"),
        (TrainingConfig, "schedule", "cosine"),
        (TrainingConfig, "residual", {"kind": "other"}),
        (TrainingConfig, "colour", 1),
        (SSIMConfig, "window_size", 4),
        (SSIMConfig, "window_size", 1),
        (SSIMConfig, "sigma", 0),
        (SSIMConfig, "window", "hann"),
        (SSIMConfig, "constants", "none"),
        (SSIMResidual, "ssim", ()),
        (SSIMResidual, "smoothing", -1),
        (SquaredErrorResidual, "smoothing", float("nan")),
        (AugmentationConfig, "rotation", 46),
        (AugmentationConfig, "scale", 0.6),
        (AugmentationConfig, "contrast", 1),
        (SegmentationConfig, "opening", -1),
        (SegmentationConfig, "opening", 2.5),
        (SegmentationConfig, "min_area", -1),
    ],
)
def test_bad_value_is_named_in_one_sentence(model, name, value):
    with pytest.raises(InputError, match=rf"^Setting '{name}.*' is not valid: [^\n]+\.$"):
        model(**{name: value})


def test_bad_value_inside_another_is_named():
    with pytest.raises(InputError, match="window size must be odd, not 4"):
        TrainingConfig(ssim={"window_size": 4})


@pytest.mark.parametrize("name", ["quick", "best", "paper"])
@pytest.mark.parametrize("system", ["ssim", "l2", "vae", "fmae"])
def test_recipe_survives_json(name, system):
    config = TrainingConfig.preset(name, system=system, augmentation={"rotation": 0.1})
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


def test_recipe_with_several_windows_survives_json():
    residual = SSIMResidual(ssim=(SSIMConfig(window_size=7), SSIMConfig(window="gaussian")))
    config = TrainingConfig(residual=residual, minutes=0.1, intensity_percentiles=(0.3, 99.7))
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


def test_recipe_from_json_is_checked_too():
    with pytest.raises(ValueError, match="window size must be odd, not 4"):
        TrainingConfig.model_validate_json('{"ssim": {"window_size": 4}}')


def test_recipe_cannot_be_changed():
    config = TrainingConfig.preset("quick")
    with pytest.raises(ValidationError, match="frozen"):
        config.epochs = 3
    with pytest.raises(ValidationError, match="frozen"):
        config.ssim.window_size = 3


def test_replacing_checks_and_leaves_the_original():
    config = TrainingConfig.preset("quick")
    assert config.replace(epochs=3).epochs == 3
    assert config == TrainingConfig.preset("quick")
    with pytest.raises(InputError, match="epochs"):
        config.replace(epochs=0)
    with pytest.raises(InputError, match="epoch"):
        config.replace(epoch=3)

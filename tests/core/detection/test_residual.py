from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import (
    ReconstructionProbabilityResidual,
    SquaredErrorResidual,
    SSIMConfig,
    SSIMResidual,
)
from napari_ssim_defects.core.detection.predictions import PlanePredictions
from napari_ssim_defects.core.detection.residual import residual_map, score_plane

WINDOWS = (SSIMConfig(), SSIMConfig(window_size=7), SSIMConfig(window="gaussian"))


def skimage_residual(x, y, config):
    """1 - SSIM of images (C, H, W), mean over channels, in float64."""
    gaussian = {"gaussian_weights": True, "sigma": config.sigma}
    _, ssim = structural_similarity(
        x.astype(np.float64), y.astype(np.float64), win_size=config.window_size, data_range=1.0,
        channel_axis=0, use_sample_covariance=False, full=True,
        **(gaussian if config.window == "gaussian" else {}),
    )  # fmt: skip
    return 1 - ssim.mean(axis=0)


@pytest.fixture
def pair(rng):
    def make(*shape):
        x = rng.random(shape, dtype=np.float32)
        return x, (x + 0.2 * rng.normal(size=shape)).astype(np.float32)

    return make


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("shape", [(1, 40, 50), (3, 30, 35), (1, 530, 20)])
def test_structural_residual_is_one_minus_the_map_of_scikit_image(pair, window, shape):
    x, y = pair(*shape)
    residual = residual_map(x, y, SSIMResidual(ssim=(window,)))
    assert residual.shape == shape[1:]
    assert residual.dtype == np.float32
    np.testing.assert_allclose(residual, skimage_residual(x, y, window), atol=2e-5)


def test_several_windows_are_averaged(pair):
    x, y = pair(2, 30, 30)
    expected = np.mean([skimage_residual(x, y, window) for window in WINDOWS], axis=0)
    np.testing.assert_allclose(residual_map(x, y, SSIMResidual(ssim=WINDOWS)), expected, atol=2e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_squared_error_is_the_mean_over_channels(pair, channels):
    x, y = pair(channels, 20, 25)
    residual = residual_map(x, y, SquaredErrorResidual())
    assert residual.dtype == np.float32
    np.testing.assert_allclose(
        residual, ((x.astype(np.float64) - y) ** 2).mean(axis=0), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("kind", [SSIMResidual, SquaredErrorResidual])
def test_smoothing_is_gaussian(pair, kind):
    x, y = pair(1, 40, 40)
    expected = ndimage.gaussian_filter(residual_map(x, y, kind()).astype(np.float64), 2.5)
    np.testing.assert_allclose(residual_map(x, y, kind(smoothing=2.5)), expected, atol=1e-5)


@pytest.mark.parametrize("config", [SSIMResidual(ssim=WINDOWS), SquaredErrorResidual(smoothing=1)])
def test_identical_images_have_no_residual(pair, config):
    x, _ = pair(2, 30, 30)
    residual = residual_map(x, x.copy(), config)
    np.testing.assert_allclose(residual, 0, atol=1e-5)
    assert residual.min() >= 0


@pytest.mark.parametrize("config", [SSIMResidual(), SquaredErrorResidual()])
def test_images_are_left_as_they_are(pair, config):
    x, y = pair(1, 20, 20)
    before = x.copy(), y.copy()
    residual_map(x, y, config)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("config", [SSIMResidual(), SquaredErrorResidual()])
def test_read_only_images_are_fine(pair, config):
    x, y = pair(1, 20, 20)
    expected = residual_map(x, y, config)
    x.flags.writeable = y.flags.writeable = False
    np.testing.assert_array_equal(residual_map(x, y, config), expected)


@pytest.mark.parametrize("side", [1, 3, 10])
def test_images_smaller_than_the_window_have_a_residual(pair, side):
    x, y = pair(1, side, side)
    residual = residual_map(x, y, SSIMResidual(smoothing=1))
    assert residual.shape == (side, side)
    assert np.isfinite(residual).all()


def test_structural_residual_of_inverted_images_is_between_one_and_two(rng):
    x = rng.random((1, 30, 30), dtype=np.float32)
    residual = residual_map(x, 1 - x, SSIMResidual())
    assert residual.min() > 1
    assert residual.max() <= 2


@pytest.mark.parametrize(
    "config", [SquaredErrorResidual(smoothing=1.0), ReconstructionProbabilityResidual()]
)
@pytest.mark.parametrize("value", [1e30, np.inf])
def test_a_network_without_finite_outputs_is_told_in_a_sentence_only(config, value):
    plane = np.zeros((1, 20, 20), np.float32)
    broken = PlanePredictions(np.full((2, 20, 20), value, np.float32), {})
    with pytest.raises(InputError, match="outputs NaN or infinity"):
        score_plane(plane, broken, config)

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

from napari_ssim_defects.core.networks import texture
from napari_ssim_defects.core.networks.texture import (
    TextureModel,
    _expectation_maximisation,
    fit_texture,
)
from napari_ssim_defects.core.patches.areas import TrainingArea


def grating(height=96, width=120, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    plane = 0.5 + 0.3 * np.sin(np.arange(width) * 0.7) + 0.05 * rng.normal(size=(height, width))
    return np.repeat(plane[None], channels, axis=0).astype(np.float32)


def fitted(*areas, channels=1):
    model = TextureModel(channels)
    parts = list(fit_texture(model, areas, seed=0))
    assert parts == sorted(parts)
    assert parts[-1] == 1
    return model.eval()


def improbability(model, plane):
    with torch.inference_mode():
        return model(torch.as_tensor(np.array(plane))[None])[0, 0].numpy()


@pytest.mark.parametrize("channels", [1, 3])
def test_another_texture_is_less_probable_than_its_own(channels):
    model = fitted(TrainingArea(grating(channels=channels)), channels=channels)
    own = improbability(model, grating(channels=channels, seed=1))
    other = improbability(model, grating(channels=channels, seed=1).swapaxes(1, 2))
    assert own.shape == (96, 120)
    assert own.min() >= 0
    assert np.median(other) > 2 * np.median(own)


def test_map_is_the_likelihood_of_a_mixture_by_scipy(rng):
    """With all constants taken from the model, one neighbourhood at a time, in float64."""
    model = fitted(TrainingArea(grating()))
    plane = grating(seed=2)
    found = improbability(model, plane)
    y, x = 40, 60  # both scales have a pixel that ends here, and one that starts
    expected = 0.0
    for scale, mixture in zip((2, 2, 4, 4), model.mixtures, strict=True):
        coarse = plane[0, : 96 // scale * scale].astype(np.float64)
        coarse = coarse.reshape(96 // scale, scale, 120 // scale, scale).mean((1, 3))
        values = np.zeros((2, 2))
        for i, row in enumerate((y // scale - 1, y // scale)):
            for j, column in enumerate((x // scale - 1, x // scale)):
                window = coarse[row - 3 : row + 4, column - 3 : column + 4]
                projection = mixture.projection.double().numpy()
                point = (projection[:, 0] * window).sum((1, 2)) - mixture.centre.double().numpy()
                densities = []
                for mean, whitening, constant in zip(
                    mixture.means, mixture.whitening, mixture.constants, strict=True
                ):
                    inverse = np.linalg.inv(whitening.double().numpy())
                    normal = multivariate_normal(mean.double().numpy(), inverse @ inverse.T)
                    peak = normal.logpdf(normal.mean)
                    densities.append(constant.item() + normal.logpdf(point) - peak)
                values[i, j] = torch.logsumexp(mixture.constants, 0) - np.logaddexp.reduce(
                    densities
                )
        # Bilinear: the pixel lies half a fine pixel beyond the middle between coarse ones.
        t = 0.5 + 0.5 / scale
        weights = np.array([1 - t, t])
        expected += weights @ values @ weights
    assert found[y, x] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_products_in_place_of_convolutions_give_the_same_map(channels, monkeypatch):
    """As on graphics cards, whose convolutions round."""
    model = fitted(TrainingArea(grating(channels=channels)), channels=channels)
    plane = grating(70, 75, channels=channels, seed=2)
    expected = improbability(model, plane)
    monkeypatch.setattr(texture, "_convolves_exactly", lambda device: False)
    np.testing.assert_allclose(improbability(model, plane), expected, rtol=1e-4, atol=1e-3)


def test_mixture_finds_the_modes_that_scikit_learn_finds(rng):
    mixture_model = pytest.importorskip("sklearn.mixture")
    centres = rng.normal(size=(3, 4)) * 6
    points = np.concatenate([centre + rng.normal(size=(500, 4)) for centre in centres])
    reference = mixture_model.GaussianMixture(3, reg_covar=1e-3, random_state=0, n_init=5)
    best = reference.fit(points).score(points)
    scores = []
    for seed in range(5):
        steps = _expectation_maximisation(
            torch.as_tensor(points), torch.zeros(4), 3, torch.Generator().manual_seed(seed)
        )
        while True:
            try:
                next(steps)
            except StopIteration as end:
                means, whitening, constants = end.value
                break
        shifted = torch.einsum("kde,nke->nkd", whitening, torch.as_tensor(points)[:, None] - means)
        terms = constants - 0.5 * shifted.square().sum(-1)
        scores.append(torch.logsumexp(terms, 1).mean().item())
    assert max(scores) == pytest.approx(best, abs=0.02)


def test_noise_widens_a_mixture_as_if_the_points_had_it(rng):
    points, noise = rng.normal(size=(4000, 2)) * [1, 0.01], np.array([0, 0.3**2])
    steps = _expectation_maximisation(
        torch.as_tensor(points), torch.as_tensor(noise), 1, torch.Generator().manual_seed(0)
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            _, (whitening,), _ = end.value
            break
    covariance = torch.linalg.inv(whitening.T @ whitening).numpy()
    np.testing.assert_allclose(covariance, np.diag([1, 0.3**2]), atol=0.05)


def test_pixels_that_are_not_allowed_teach_nothing():
    plane = grating()
    allowed = np.ones(plane.shape[1:], bool)
    allowed[:, 70:] = False
    spoilt = plane.copy()
    spoilt[:, :, 70:] = 37.0
    one, other = (fitted(TrainingArea(pixels, allowed)) for pixels in (plane, spoilt))
    np.testing.assert_array_equal(improbability(one, plane), improbability(other, plane))


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (5, 7)])
def test_images_smaller_than_a_neighbourhood_have_a_map(shape):
    model = fitted(TrainingArea(grating(*shape)))
    found = improbability(model, grating(*shape))
    assert found.shape == shape
    assert np.isfinite(found).all()


def test_an_image_without_any_texture_has_a_map():
    flat = np.full((1, 40, 40), 0.5, np.float32)
    model = fitted(TrainingArea(flat))
    assert np.isfinite(improbability(model, flat)).all()
    assert improbability(model, flat + 0.1).min() > improbability(model, flat).max()


BRIGHTNESS = np.array([0.299, 0.587, 0.114])
LEATHER, WOOD = (2.0, 2.0), (0.8, 9.0)  # how far grains reach, in pixels


def coloured(grain, seed):
    """A brown material whose brightness varies much more than its colour does."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(120, 120)), grain)
    brightness = 0.45 + 0.08 * noise / noise.std()
    brown = np.array([0.60, 0.42, 0.28])
    image = brightness * (brown / (brown @ BRIGHTNESS))[:, None, None]
    return (image + 0.01 * rng.normal(size=image.shape)).astype(np.float32)


@pytest.mark.parametrize("grain", [LEATHER, WOOD])
def test_a_change_of_colour_at_equal_brightness_is_improbable(grain):
    model = fitted(TrainingArea(coloured(grain, 1)), TrainingArea(coloured(grain, 2)), channels=3)
    stain = np.zeros((120, 120), bool)
    stain[40:60, 30:60] = True
    shift = np.array([-0.03, 0.01, 0.03])
    shift -= shift @ BRIGHTNESS
    spoilt = coloured(grain, 3) + (stain * shift[:, None, None]).astype(np.float32)
    np.testing.assert_allclose(
        np.tensordot(BRIGHTNESS, spoilt, 1), np.tensordot(BRIGHTNESS, coloured(grain, 3), 1),
        atol=1e-6,
    )  # fmt: skip
    found = improbability(model, spoilt)
    assert roc_auc_score(stain.ravel(), found.ravel()) > 0.97


def test_grey_images_that_are_stored_in_colour_have_a_map():
    model = fitted(TrainingArea(grating(channels=3)), channels=3)
    tinted = grating(channels=3, seed=1)
    tinted[0, 40:60, 40:60] += 0.05
    found = improbability(model, tinted)
    assert np.isfinite(found).all()
    assert found[45:55, 45:55].min() > found[:30].max()

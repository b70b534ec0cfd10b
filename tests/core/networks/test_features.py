from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_ssim_defects.core.networks.backbone import mirrored
from napari_ssim_defects.core.networks.features import FeatureModel, fit_features
from napari_ssim_defects.core.patches.areas import TrainingArea


def grain(rng, height=160, width=192):
    """A rough texture without order."""
    return rng.random((1, height, width)).astype(np.float32)


def fitted(backbone, *areas):
    model = FeatureModel()
    parts = list(fit_features(model, backbone, areas))
    assert parts == sorted(parts)
    assert parts[-1] == 1
    return model


def distance(backbone, model, plane):
    with torch.inference_mode():
        maps = backbone(torch.as_tensor(mirrored(plane))[None])
        return model(maps, *plane.shape[1:])[0, 0].numpy()


def test_distance_is_that_of_mahalanobis_from_all_features_of_the_good_places(backbone, rng):
    """Against the plain formula, in double precision; only the correlation is shrunk a little."""
    model = FeatureModel()
    features = rng.normal(size=(4000, 152)) @ rng.normal(size=(152, 152)) + rng.normal(size=152)
    points = torch.as_tensor(features)
    model.fit(len(points), points.sum(0), points.T @ points)
    covariance = np.cov(features.T, bias=True)
    covariance[np.diag_indices(152)] *= 1.01
    centred = features[:20] - features.mean(0)
    expected = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
    found = ((points[:20].float() - model.mean) @ model.whitening.T).square().sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("what", ["smooth", "striped"])
def test_what_is_too_regular_is_as_far_as_what_is_too_rough(backbone, rng, what):
    model = fitted(backbone, TrainingArea(grain(rng)), TrainingArea(grain(rng)))
    plane = grain(rng)
    usual = distance(backbone, model, plane)
    spoilt = plane.copy()
    spoilt[0, 64:112, 64:112] = 0.5
    if what == "striped":
        spoilt[0, 64:112, 64:112:4] = 1.0
    found = distance(backbone, model, spoilt)
    assert found.shape == (160, 192)
    assert found[80:96, 80:96].min() > np.quantile(usual, 0.99)
    assert np.abs(found[:, 176:] - usual[:, 176:]).max() < 0.5 * np.ptp(found)


def test_pixels_that_are_not_good_are_not_learnt(backbone, rng):
    plane = grain(rng, 96, 480)
    allowed = np.ones((96, 480), bool)
    allowed[:, 128:] = False
    spoilt = plane.copy()
    spoilt[0, :, 352:] = 0.5  # farther than the network sees
    one = fitted(backbone, TrainingArea(plane, allowed))
    other = fitted(backbone, TrainingArea(spoilt, allowed))
    torch.testing.assert_close(one.mean, other.mean, atol=1e-4, rtol=1e-4)


def test_where_no_place_is_good_as_a_whole_all_are_learnt(backbone, rng):
    plane = grain(rng, 64, 64)
    scattered = np.zeros((64, 64), bool)
    scattered[::5, ::5] = True
    model = fitted(backbone, TrainingArea(plane, scattered))
    torch.testing.assert_close(model.mean, fitted(backbone, TrainingArea(plane)).mean)


def test_an_image_of_one_colour_gives_finite_distances(backbone):
    plane = np.full((1, 64, 64), 0.5, np.float32)
    model = fitted(backbone, TrainingArea(plane))
    assert np.isfinite(distance(backbone, model, plane)).all()


def test_good_material_is_hardly_farther_at_a_border(backbone, rng):
    """Where an image goes on as its mirror image, which no good image shows."""
    model = fitted(backbone, *(TrainingArea(stripes(rng)) for _ in range(4)))
    plane = stripes(rng)
    found = distance(backbone, model, plane)
    inside = np.zeros(found.shape, bool)
    inside[64:-64, 64:-64] = True
    border = np.ones(found.shape, bool)
    border[16:-16, 16:-16] = False
    usual = np.quantile(found[inside], 0.9)
    assert (found[border] > usual).mean() < 0.3
    model.rings.zero_()
    before = distance(backbone, model, plane)
    assert (before[border] > usual).mean() > 0.5


def stripes(rng, height=224, width=256):
    """Slanted stripes, which no mirror image continues."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    plane = 0.5 + 0.4 * np.sin(0.5 * x + 0.3 * y + rng.uniform(0, 6))
    return (plane + 0.05 * rng.normal(size=plane.shape))[None].astype(np.float32)

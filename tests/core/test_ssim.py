from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import SSIMConfig, SSIMResidual
from napari_ssim_defects.core.detection.residual import residual_map
from napari_ssim_defects.core.ssim import ssim_loss, ssim_map

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-10}


def reference(x, y, *, window="uniform", window_size=11, data_range=1.0, sigma=1.5):
    """Map by scikit-image in float64, for images of shape (C, H, W)."""
    gaussian = {"gaussian_weights": True, "sigma": sigma} if window == "gaussian" else {}
    _, ssim = structural_similarity(
        x.astype(np.float64), y.astype(np.float64), win_size=window_size, data_range=data_range,
        channel_axis=0, use_sample_covariance=False, full=True, **gaussian,
    )  # fmt: skip
    return ssim


def of_arrays(x, y, **options):
    return ssim_map(torch.as_tensor(x)[None], torch.as_tensor(y)[None], **options)[0].numpy()


def pair(rng, shape, dtype=np.float32, noise=0.2):
    x = rng.random(shape)
    return x.astype(dtype), (x + noise * rng.standard_normal(shape)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("window_size", [3, 7, 11, 21])
def test_uniform_window_equals_scikit_image(rng, window_size, dtype):
    x, y = pair(rng, (1, 48, 37), dtype)
    ssim = of_arrays(x, y, window_size=window_size)
    assert ssim.dtype == dtype
    expected = reference(x, y, window_size=window_size)
    np.testing.assert_allclose(ssim, expected, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("sigma", "window_size"), [(1.5, 11), (1.0, 9), (3.0, 23)])
def test_gaussian_window_equals_scikit_image(rng, sigma, window_size, dtype):
    # scikit-image derives its window from sigma: truncated at 3.5 sigma.
    x, y = pair(rng, (1, 40, 53), dtype)
    ssim = of_arrays(x, y, window="gaussian", sigma=sigma, window_size=window_size)
    expected = reference(x, y, window="gaussian", sigma=sigma, window_size=window_size)
    np.testing.assert_allclose(ssim, expected, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize("channels", [2, 3, 5])
def test_each_channel_is_compared_by_itself(rng, channels, window):
    x, y = pair(rng, (channels, 33, 29))
    ssim = of_arrays(x, y, window=window)
    np.testing.assert_allclose(ssim, reference(x, y, window=window), atol=2e-5)


def test_each_image_of_a_batch_is_compared_by_itself(rng):
    x, y = pair(rng, (3, 2, 20, 25), np.float64)
    ssim = ssim_map(torch.as_tensor(x), torch.as_tensor(y)).numpy()
    for index in range(3):
        np.testing.assert_allclose(ssim[index], reference(x[index], y[index]), atol=1e-10)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integer_ranges_equal_scikit_image(rng, bits, dtype):
    largest = 2**bits - 1
    x = rng.integers(0, largest, (1, 40, 40), endpoint=True)
    y = np.clip(x + rng.integers(-largest // 8, largest // 8, x.shape), 0, largest)
    ssim = of_arrays(x.astype(dtype), y.astype(dtype), data_range=float(largest))
    expected = reference(x, y, data_range=float(largest))
    np.testing.assert_allclose(ssim, expected, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("level", [0.0, 0.1, 1.0, 100.0])
def test_low_contrast_on_a_high_level_is_exact_in_float32(rng, level):
    x, y = pair(rng, (1, 64, 64), np.float64, noise=0.5)
    x, y = ((level + 0.01 * image).astype(np.float32) for image in (x, y))
    np.testing.assert_allclose(of_arrays(x, y), reference(x, y), atol=1e-4)


@pytest.mark.parametrize("level", [1.0, 10.0, 100.0])
def test_images_of_different_levels_are_exact_in_float32(rng, level):
    x = (0.02 * rng.random((1, 64, 64))).astype(np.float32)
    y = (level + 0.02 * rng.random((1, 64, 64))).astype(np.float32)
    expected = reference(x, y)
    np.testing.assert_allclose(of_arrays(x, y), expected, atol=1e-3 * np.abs(expected).max())


def test_channels_of_different_levels_are_exact_in_float32(rng):
    levels = np.array([0.0, 10.0, 200.0])[:, None, None]
    x = (levels + 0.02 * rng.random((3, 48, 48))).astype(np.float32)
    y = (levels + 0.02 * rng.random((3, 48, 48))).astype(np.float32)
    np.testing.assert_allclose(of_arrays(x, y), reference(x, y), atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("level_x", "level_y"), [(0, 0), (0.5, 0.5), (0, 1), (0.3, 0.35)])
def test_flat_images_equal_scikit_image(level_x, level_y, dtype):
    x, y = np.full((1, 30, 30), level_x, dtype), np.full((1, 30, 30), level_y, dtype)
    np.testing.assert_allclose(of_arrays(x, y), reference(x, y), atol=TOLERANCE[dtype])


def test_flat_against_textured_equals_scikit_image(rng):
    x, y = np.full((1, 30, 30), 0.5, np.float32), rng.random((1, 30, 30), dtype=np.float32)
    np.testing.assert_allclose(of_arrays(x, y), reference(x, y), atol=2e-5)


def test_inverted_images_are_anti_correlated(rng):
    x = rng.random((1, 40, 40), dtype=np.float32)
    ssim = of_arrays(x, 1 - x)
    np.testing.assert_allclose(ssim, reference(x, 1 - x), atol=2e-5)
    assert ssim.min() >= -1
    assert ssim.max() < -0.5


@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize("shape", [(1, 520, 30), (1, 30, 520), (2, 515, 513)])
@pytest.mark.parametrize("border", ["same", "valid"])
def test_large_images_equal_scikit_image(rng, shape, window, border):
    x, y = pair(rng, shape)
    expected = reference(x, y, window=window)
    if border == "valid":
        expected = expected[:, 5:-5, 5:-5]
    np.testing.assert_allclose(of_arrays(x, y, window=window, border=border), expected, atol=2e-5)


@pytest.fixture(params=["fast convolutions", "matrices", "shifted images"])
def filters(request, monkeypatch):
    """Each way to filter, as on a machine that chooses it."""
    if request.param != "fast convolutions":
        monkeypatch.setattr(
            "napari_ssim_defects.core.images.window._vectorised", lambda images: False
        )
    if request.param == "shifted images":
        monkeypatch.setattr("napari_ssim_defects.core.images.window._LARGEST_BAND", 0)


@pytest.mark.usefixtures("filters")
@pytest.mark.parametrize("border", ["same", "valid"])
@pytest.mark.parametrize("options", [{"window_size": 7}, {"window": "gaussian", "sigma": 2.0}])
@pytest.mark.parametrize("shape", [(2, 1, 60, 45), (40, 1, 14, 17), (3, 12, 13, 12)])
def test_every_algorithm_gives_the_map_and_the_gradient_of_float64(rng, shape, border, options):
    x, y = (torch.as_tensor(image) for image in pair(rng, shape, np.float64))
    slope = torch.as_tensor(rng.normal(size=ssim_map(x, y, border=border, **options).shape))
    results = []
    for dtype in (torch.float64, torch.float32):
        images = [image.to(dtype).requires_grad_() for image in (x, y)]
        found = ssim_map(*images, border=border, **options)
        results.append((found, *torch.autograd.grad(found, images, slope.to(dtype))))
    for exact, single in zip(*results, strict=True):
        assert single.dtype == torch.float32
        assert (single.double() - exact).norm() < 1e-5 * exact.norm()


@pytest.mark.usefixtures("filters")
@pytest.mark.parametrize("count", [1, 15, 16, 33])
def test_images_of_any_number_equal_scikit_image(rng, count):
    x, y = pair(rng, (count, 1, 21, 30))
    ssim = ssim_map(torch.as_tensor(x), torch.as_tensor(y)).numpy()
    for index in range(count):
        np.testing.assert_allclose(ssim[index], reference(x[index], y[index]), atol=2e-5)


@pytest.mark.parametrize("window_size", [3, 11, 25])
def test_valid_border_is_the_inside_of_the_same_border(rng, window_size):
    x, y = pair(rng, (1, 40, 31), np.float64)
    radius = window_size // 2
    valid = of_arrays(x, y, window_size=window_size, border="valid")
    same = of_arrays(x, y, window_size=window_size)
    assert valid.shape == (1, 40 - window_size + 1, 31 - window_size + 1)
    np.testing.assert_allclose(valid, same[:, radius:-radius, radius:-radius], atol=1e-12)


@pytest.mark.usefixtures("filters")
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 9), (1, 5, 2), (1, 3, 3), (17, 2, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_images_smaller_than_the_window_are_mirrored_until_they_fill_it(rng, shape, dtype):
    x, y = pair(rng, shape, dtype)
    around = [(0, 0), (30, 30), (30, 30)]
    expected = reference(*(np.pad(image, around, mode="symmetric") for image in (x, y)))
    expected = expected[:, 30:-30, 30:-30]
    np.testing.assert_allclose(of_arrays(x, y), expected, atol=TOLERANCE[dtype])


@pytest.mark.usefixtures("filters")
@pytest.mark.parametrize("shape", [(0, 0), (0, 9), (9, 0)])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_images_without_pixels_have_a_map_without_pixels(shape, count):
    image = torch.zeros(count, 1, *shape)
    assert ssim_map(image, image).shape == image.shape


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_paper_constants_are_the_printed_ones_whatever_the_range(rng, data_range):
    x, y = pair(rng, (1, 16, 16), np.float64)
    size, c1, c2 = 5, 0.01, 0.03
    expected = np.empty((12, 12))
    for row, column in np.ndindex(12, 12):
        p, q = (image[0, row : row + size, column : column + size] for image in (x, y))
        covariance = ((p - p.mean()) * (q - q.mean())).mean()
        expected[row, column] = (
            (2 * p.mean() * q.mean() + c1) * (2 * covariance + c2)
            / ((p.mean() ** 2 + q.mean() ** 2 + c1) * (p.var() + q.var() + c2))
        )  # fmt: skip
    options = {"window_size": size, "constants": "paper", "border": "valid"}
    ssim = of_arrays(x, y, data_range=data_range, **options)
    np.testing.assert_allclose(ssim[0], expected, atol=1e-12)


def test_standard_constants_scale_with_the_range(rng):
    x, y = pair(rng, (1, 20, 20), np.float64)
    np.testing.assert_allclose(
        of_arrays(255 * x, 255 * y, data_range=255.0), of_arrays(x, y), atol=1e-10
    )


@pytest.mark.usefixtures("filters")
@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize(("border", "window_size"), [("same", 3), ("valid", 3), ("same", 15)])
def test_gradient_is_the_derivative_of_the_map(rng, window, border, window_size):
    x, y = (torch.as_tensor(image)[None].requires_grad_() for image in
            pair(rng, (1, 6, 5), np.float64))  # fmt: skip

    def loss(a, b):
        return ssim_map(a, b, window_size=window_size, window=window, border=border)

    assert torch.autograd.gradcheck(loss, (x, y))


def test_gradient_on_flat_images_is_finite():
    x = torch.full((1, 1, 16, 16), 0.5)
    y = torch.full((1, 1, 16, 16), 0.5, requires_grad=True)
    ssim_map(x, y).sum().backward()
    assert torch.isfinite(y.grad).all()


@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize("constants", ["standard", "paper"])
def test_identical_images_have_similarity_one(rng, window, constants):
    x = rng.normal(3, 2, (2, 64, 50)).astype(np.float32)
    ssim = of_arrays(x, x.copy(), window=window, constants=constants)
    np.testing.assert_allclose(ssim, 1, atol=1e-5)


def test_similarity_is_symmetric(rng):
    x, y = pair(rng, (2, 40, 40), np.float64)
    np.testing.assert_allclose(of_arrays(x, y), of_arrays(y, x), atol=1e-12)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
def test_map_is_finite_and_at_most_one(rng, scale):
    x = rng.normal(0, scale, (1, 32, 32)).astype(np.float32)
    y = rng.normal(0, scale, (1, 32, 32)).astype(np.float32)
    y[:, 10:20] = 0
    ssim = of_arrays(x, y)
    assert np.isfinite(ssim).all()
    assert np.abs(ssim).max() <= 1 + 1e-5


def test_autocast_does_not_lower_the_precision(rng):
    x, y = pair(rng, (1, 40, 40))
    expected = of_arrays(x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ssim = of_arrays(x, y)
    assert ssim.dtype == np.float32
    np.testing.assert_array_equal(ssim, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(rng, dtype):
    x, y = (torch.as_tensor(image)[None].to(dtype) for image in pair(rng, (1, 20, 20)))
    torch.testing.assert_close(ssim_map(x, y), ssim_map(x.float(), y.float()), rtol=0, atol=0)


def test_inputs_are_left_as_they_are(rng):
    x, y = (torch.as_tensor(image)[None] for image in pair(rng, (1, 20, 20)))
    before = x.clone(), y.clone()
    ssim_map(x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


def test_training_works_after_detection_on_images_of_the_patch_size():
    image = np.zeros((1, 19, 19), np.float32)
    residual_map(image, image, SSIMResidual())  # runs without gradients, as detection does
    reconstruction = torch.zeros(1, 1, 19, 19, requires_grad=True)
    ssim_loss(torch.ones(1, 1, 19, 19), reconstruction, SSIMConfig()).backward()
    assert reconstruction.grad is not None


def test_loss_is_the_mean_dissimilarity(rng):
    x, y = (torch.as_tensor(image)[None] for image in pair(rng, (2, 30, 30), np.float64))
    config = SSIMConfig(window="gaussian", window_size=7, sigma=1.2, constants="paper")
    expected = (
        1 - ssim_map(x, y, window="gaussian", window_size=7, sigma=1.2, constants="paper").mean()
    )
    assert ssim_loss(x, y, config).item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((1, 1, 9, 9), (1, 1, 9, 8)), {}, "same shape"),
        (((9, 9), (9, 9)), {}, "same shape"),
        (((1, 1, 9, 9),) * 2, {"window_size": 4}, "must be odd"),
        (((1, 1, 9, 9),) * 2, {"window_size": 1}, "window_size"),
        (((1, 1, 9, 9),) * 2, {"window": "hann"}, "window"),
        (((1, 1, 9, 9),) * 2, {"window": "gaussian", "sigma": 0}, "sigma"),
        (((1, 1, 9, 9),) * 2, {"constants": "none"}, "constants"),
        (((1, 1, 9, 9),) * 2, {"data_range": 0}, "data range"),
        (((1, 1, 9, 9),) * 2, {"data_range": float("nan")}, "data range"),
        (((1, 1, 9, 9),) * 2, {"data_range": float("inf")}, "data range"),
        (((1, 1, 9, 9),) * 2, {"border": "zero"}, "border"),
        (((1, 1, 9, 12),) * 2, {"border": "valid"}, "does not fit"),
    ],
)
def test_impossible_input_is_named(shapes, options, message):
    x, y = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(InputError, match=message):
        ssim_map(x, y, **options)

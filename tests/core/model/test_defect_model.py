from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.common.progress import DetectionProgress, PlaneDetected
from napari_ssim_defects.core.config import SquaredErrorResidual, TrainingConfig
from napari_ssim_defects.core.detection.reconstruction import reconstruct_plane
from napari_ssim_defects.core.detection.residual import residual_map
from napari_ssim_defects.core.images.intensity import IntensityRange
from napari_ssim_defects.core.model.calibration import Calibration
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.networks.autoencoder import Autoencoder, initialise


def model_of(channels=1, channel_axis=None, **config):
    """A model with random weights: what it finds means nothing, but it is all there."""
    network = Autoencoder(16, channels, 6, batch_norm=True).eval()
    initialise(network, 0)
    scores = np.random.default_rng(0).random((50, 50), dtype=np.float32)
    return DefectModel(
        config=TrainingConfig(patch_size=16, latent_dimension=6, stride=8, **config),
        network=network,
        channels=channels,
        channel_axis=channel_axis,
        intensity=IntensityRange((10.0,) * channels, (200.0,) * channels),
        calibration=Calibration.from_residuals([scores], held_out=True),
    )


# Channels, their axis in training, and images with the shape of their residual.
KINDS = [
    (1, None, (30, 40), (30, 40)),
    (1, None, (3, 30, 40), (3, 30, 40)),
    (1, None, (2, 3, 30, 20), (2, 3, 30, 20)),
    (1, None, (7, 9), (7, 9)),
    (3, -1, (30, 40, 3), (30, 40)),
    (3, -1, (2, 30, 20, 3), (2, 30, 20)),
    (2, -3, (2, 30, 40), (30, 40)),
    (5, -3, (3, 5, 30, 20), (3, 30, 20)),
    (4, -1, (30, 20, 4), (30, 20)),
    (2, -4, (2, 3, 30, 20), (3, 30, 20)),
]


@pytest.fixture
def image(rng):
    def make(shape, dtype=np.uint8):
        return rng.integers(0, 256, shape).astype(dtype)

    return make


@pytest.mark.parametrize(("channels", "axis", "shape", "expected"), KINDS)
def test_residual_has_height_and_width_and_all_leading_axes(image, channels, axis, shape, expected):
    residual = model_of(channels, axis).residual(image(shape))
    assert residual.shape == expected
    assert residual.dtype == np.float32
    assert np.isfinite(residual).all()


@pytest.mark.parametrize(("channels", "axis", "shape", "expected"), KINDS)
def test_reconstruction_has_the_shape_and_intensities_of_the_image(
    image, channels, axis, shape, expected
):
    model = model_of(channels, axis)
    reconstruction = model.reconstruct(image(shape))
    assert reconstruction.shape == shape
    assert reconstruction.dtype == np.float32
    normalised = (reconstruction - 10) / 190
    assert 1e-6 < normalised.std() < 10


def by_hand(model, planes, stride):
    """Residuals and reconstructions from the steps that a model consists of."""
    for plane in planes:
        steps = reconstruct_plane(
            model.network, (plane - 10) / 190, 16, stride, torch.device("cpu")
        )
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                reconstruction = finished.value
                break
        yield (
            residual_map((plane - 10) / 190, reconstruction, model.config.residual),
            (reconstruction * 190 + 10),
        )


@pytest.mark.parametrize("stride", [None, 5])
@pytest.mark.parametrize("residual", [{"kind": "ssim"}, SquaredErrorResidual(smoothing=1)])
def test_inspection_normalises_reconstructs_and_compares(image, stride, residual):
    model = model_of(2, -3, residual=residual)
    stack = image((3, 2, 30, 40))
    inspected = [
        message
        for message in model.detect(stack, stride=stride)
        if isinstance(message, PlaneDetected)
    ]
    expected = list(by_hand(model, stack.astype(np.float32), stride or 8))
    for message, (residual_plane, reconstruction) in zip(inspected, expected, strict=True):
        np.testing.assert_allclose(message.residual, residual_plane, atol=1e-5)
        np.testing.assert_allclose(message.reconstruction, reconstruction, atol=1e-2)


@pytest.mark.parametrize(("channels", "axis", "shape", "expected"), KINDS[:7])
def test_whole_results_are_those_of_the_inspection(image, channels, axis, shape, expected):
    model, picture = model_of(channels, axis), image(shape)
    messages = [m for m in model.detect(picture, stride=6) if isinstance(m, PlaneDetected)]
    np.testing.assert_array_equal(
        model.residual(picture, stride=6).reshape(-1, *expected[-2:]),
        np.stack([message.residual for message in messages]),
    )
    planes = model.planes(model.reconstruct(picture, stride=6))
    np.testing.assert_array_equal(
        np.stack(list(planes)), np.stack([message.reconstruction for message in messages])
    )


def test_inspection_reports_its_progress(image):
    messages = list(model_of().detect(image((3, 60, 60)), stride=1))
    fractions = [m.fraction for m in messages if isinstance(m, DetectionProgress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    kinds = [type(message) for message in messages]
    assert kinds[-1] is PlaneDetected
    assert kinds[0] is DetectionProgress
    assert kinds.count(PlaneDetected) == 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.int32, np.float32, np.float64])
def test_number_format_of_the_image_makes_no_difference(image, dtype):
    model, picture = model_of(), image((30, 40))
    expected = model.residual(picture)
    other = picture.astype(dtype)
    other.flags.writeable = False
    np.testing.assert_array_equal(model.residual(other), expected)
    np.testing.assert_array_equal(other, picture)


def test_dask_images_give_the_same_residual(image):
    array = pytest.importorskip("dask.array")
    model, picture = model_of(3, -1), image((2, 30, 20, 3))
    lazy = array.from_array(picture, chunks=(1, 16, 16, 3))
    np.testing.assert_array_equal(model.residual(lazy), model.residual(picture))
    np.testing.assert_array_equal(model.reconstruct(lazy), model.reconstruct(picture))


def test_opacity_of_rgba_makes_no_difference(image):
    model, picture = model_of(3, -1), image((30, 20, 4))
    np.testing.assert_array_equal(model.residual(picture), model.residual(picture[..., :3]))
    assert model.reconstruct(picture).shape == (30, 20, 3)


def test_channels_may_be_elsewhere_than_in_training(image):
    model, picture = model_of(3, -1), image((30, 20, 3))
    moved = np.moveaxis(picture, -1, 0)
    np.testing.assert_array_equal(model.residual(moved, channel_axis=0), model.residual(picture))
    np.testing.assert_array_equal(
        model.reconstruct(moved, channel_axis=0), np.moveaxis(model.reconstruct(picture), -1, 0)
    )


def test_one_channel_may_have_an_axis_or_not(image):
    model, picture = model_of(1, -1), image((30, 20))
    expected = model.residual(picture)
    np.testing.assert_array_equal(model.residual(picture[..., None]), expected)
    np.testing.assert_array_equal(model_of().residual(picture[None], channel_axis=0), expected)


@pytest.mark.parametrize(
    ("channels", "axis", "shape", "message"),
    [
        (1, None, (30, 20, 3), r"trained on grey images, but weave\.tif is RGB; convert it"),
        (1, None, (30, 20, 4), r"trained on grey images, but weave\.tif is RGB"),
        (3, -1, (30, 20), r"trained on RGB images, but weave\.tif is grey"),
        (3, -1, (5, 30, 20), r"trained on RGB images, but weave\.tif is grey"),
        (5, -3, (4, 30, 20), r"images of 5 channels, but weave\.tif has 4 channels"),
        (5, -3, (30, 20), r"images of 5 channels, but weave\.tif is grey"),
        (2, -4, (2, 30, 20), r"no axis -4 for channels"),
        (1, None, (30,), r"weave\.tif has 1 dimension; an image needs"),
        (3, -1, (30,), r"weave\.tif has 1 dimension; an image needs"),
    ],
)
def test_other_channels_than_in_training_are_refused(channels, axis, shape, message):
    with pytest.raises(InputError, match=message):
        model_of(channels, axis).planes(np.zeros(shape), name="weave.tif")


@pytest.mark.parametrize("stride", [0, -3])
def test_impossible_stride_is_refused(stride):
    with pytest.raises(InputError, match=f"at least 1 pixel, not {stride}"):
        model_of().residual(np.zeros((20, 20)), stride=stride)


def test_missing_device_is_refused():
    with pytest.raises(InputError, match="'cuda:99' is not available"):
        model_of().residual(np.zeros((20, 20)), device="cuda:99")


def test_pixels_without_a_value_are_refused():
    image = np.zeros((2, 20, 20))
    image[1, 3, 4] = np.nan
    with pytest.raises(InputError, match=r"^Plane 1 of 'weave' has NaN"):
        list(model_of().detect(image, name="'weave'"))


def test_automatic_threshold_allows_one_false_region_per_image():
    model = model_of()
    assert model.auto_threshold == model.calibration.threshold_of_regions(1)


def test_inspecting_leaves_the_model_as_it_is(image):
    model = model_of()
    before = copy.deepcopy(model.network.state_dict())
    model.network.train()
    first = model.residual(image((30, 40)))
    after = model.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert np.isfinite(first).all()


def test_images_do_not_influence_each_other(image):
    model = model_of()
    first, second = image((30, 40)), image((25, 20))
    expected = model.residual(first)
    model.residual(second)
    np.testing.assert_array_equal(model.residual(first), expected)
    np.testing.assert_array_equal(model.residual(np.stack([first, first]))[1], expected)


def test_defects_outside_the_range_of_training_stay_visible():
    model = model_of(residual=SquaredErrorResidual())
    image = np.full((48, 48), 100.0)
    image[20:28, 20:28] = 1000
    residual = model.residual(image)
    assert residual[22:26, 22:26].min() > 10 * np.median(residual)


def test_residual_warns_of_intensities_on_another_scale(grey_model, material):
    with pytest.warns(UserWarning, match=r"far outside those of the training images \("):
        grey_model.residual(material(1).astype(np.uint16) * 257, device="cpu")

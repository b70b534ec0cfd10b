"""What is read of the images that are trained on."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.images import tiles
from napari_ssim_defects.core.images.planes import as_planes
from napari_ssim_defects.core.model.calibrate import calibrate
from napari_ssim_defects.core.patches import areas as training_set
from napari_ssim_defects.core.patches.areas import fingerprint, read_areas
from napari_ssim_defects.core.training.train import train


class Stored:
    """An array that is not in memory, and counts what is read of it."""

    def __init__(self, pixels):
        self.pixels, self.shape, self.dtype = pixels, pixels.shape, pixels.dtype
        self.read = 0

    def __getitem__(self, index):
        part = self.pixels[index]
        self.read += part.size
        return part


@pytest.fixture(autouse=True)
def _small_sample(monkeypatch):
    monkeypatch.setattr(tiles, "SIDE", 64)
    monkeypatch.setattr(training_set, "_SAMPLED_PIXELS", 5 * 64**2)


def test_of_images_in_memory_all_is_read(rng):
    image = rng.random((400, 500))
    (area,) = read_areas([as_planes(image)], None)
    np.testing.assert_array_equal(area.pixels[0], image.astype(np.float32))


def test_of_large_images_that_are_not_in_memory_the_same_sample_is_read(rng):
    image = Stored(rng.random((400, 500)))
    areas = read_areas([as_planes(image)], None)
    assert len(areas) == 5
    assert image.read == sum(area.pixels.size for area in areas) < image.pixels.size / 5
    assert fingerprint(areas) == fingerprint(read_areas([as_planes(image)], None))
    assert all(np.isin(area.pixels, image.pixels.astype(np.float32)).all() for area in areas)


def test_small_images_that_are_not_in_memory_are_read_whole(rng):
    image = Stored(rng.random((2, 64, 70)))
    assert [area.pixels.shape for area in read_areas([as_planes(image)], None)] == [(1, 64, 70)] * 2


def test_images_share_the_sample_by_their_size_and_large_patches_get_large_squares(rng):
    stacks = [as_planes(Stored(rng.random(shape))) for shape in ((6, 128, 128), (128, 256))]
    areas = read_areas(stacks, None, patch_size=32)
    assert [area.pixels.shape[1:] for area in areas] == [(128, 128)] * len(areas)
    assert 2 <= len(areas) < 8


def test_only_what_may_be_trained_on_is_sampled(rng):
    image, mask = Stored(rng.random((400, 500))), np.zeros((400, 500), bool)
    mask[70:130, 200:400] = True
    areas = read_areas([as_planes(image)], [mask])
    assert 0 < len(areas) <= 5
    assert all(area.allowed.any() for area in areas)


def test_training_and_calibration_take_a_sample_of_large_images(rng):
    image = Stored(rng.random((500, 400)).astype(np.float32))
    config = TrainingConfig(patch_size=16, latent_dimension=4, patches=8, epochs=1, stride=16)
    *_, last = train([image], config, device="cpu")
    assert last.model.calibration.pixels < image.pixels.size / 5
    assert image.read < image.pixels.size / 5
    steps = calibrate(last.model, [image], device="cpu")
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            model = finished.value
            break
    assert model.calibration.pixels < image.pixels.size / 5
    assert image.read < image.pixels.size / 2

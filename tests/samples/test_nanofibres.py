"""What a user of the generated micrographs may rely on."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from scipy import ndimage

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.samples import nanofibres

SHAPE = (256, 320)


@pytest.fixture(scope="module")
def full():
    return nanofibres(3), nanofibres(3, defects=True)


def test_default_image_has_the_size_and_type_of_the_papers(full):
    good, bad = full
    for sample in full:
        assert sample.image.shape == sample.labels.shape == (700, 1024)
        assert sample.image.dtype == np.uint8
        assert sample.labels.dtype == np.int32
    assert good.kinds == ()
    assert not good.labels.any()
    assert 3 <= len(bad.kinds) <= 18


def test_same_seed_gives_same_sample():
    first, second = (nanofibres(5, defects=True, shape=SHAPE) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, second.labels)
    assert first.kinds == second.kinds


def test_different_seeds_give_different_images():
    digests = {hashlib.sha1(nanofibres(s, shape=SHAPE).image).digest() for s in range(5)}
    assert len(digests) == 5
    first, second = (nanofibres(s, shape=SHAPE).image.ravel() for s in range(2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.2


def test_defects_change_no_pixel_outside_their_mask(full):
    good, bad = full
    assert np.array_equal(good.image[bad.labels == 0], bad.image[bad.labels == 0])


def test_defects_visibly_change_most_pixels_inside_their_mask(full):
    good, bad = full
    change = np.abs(good.image.astype(int) - bad.image)
    for label in range(1, len(bad.kinds) + 1):
        assert np.mean(change[bad.labels == label] > 8) > 0.5


@pytest.mark.parametrize("seed", range(6))
def test_labels_are_consecutive_and_each_defect_is_large_enough_to_see(seed):
    sample = nanofibres(seed, defects=4, shape=SHAPE)
    labels, areas = np.unique(sample.labels[sample.labels > 0], return_counts=True)
    assert labels.tolist() == [1, 2, 3, 4]
    assert areas.min() >= 40


@pytest.mark.parametrize("seed", range(3))
def test_defects_have_realistic_sizes(seed):
    sample = nanofibres(seed, defects=True)
    for box in ndimage.find_objects(sample.labels):
        assert 8 <= max(part.stop - part.start for part in box) <= 300


@pytest.mark.slow
def test_every_kind_occurs_and_broken_fibres_are_rare():
    kinds = Counter(
        kind for seed in range(5) for kind in nanofibres(seed, defects=12, shape=(700, 700)).kinds
    )
    assert set(kinds) == {"bead", "dust", "clump", "film", "broken_fibre"}
    assert kinds["broken_fibre"] < min(kinds["dust"], kinds["clump"], kinds["film"])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_number_of_defects_is_exact(count):
    sample = nanofibres(1, defects=count, shape=SHAPE)
    assert len(sample.kinds) == sample.labels.max() == count


def test_smaller_images_have_fewer_defects_but_at_least_one():
    for shape in ((64, 64), (128, 128), (350, 512)):
        assert 1 <= len(nanofibres(2, defects=True, shape=shape).kinds) <= 5


@pytest.mark.slow
def test_images_are_samples_of_one_process_with_enough_contrast():
    images = [nanofibres(seed, defects=bool(seed % 2)).image / 255 for seed in range(6)]
    means = np.array([image.mean() for image in images])
    assert min(image.std() for image in images) > 0.12
    assert np.ptp(means) < 0.1
    assert max(np.mean((image == 0) | (image == 1)) for image in images) < 0.02


def test_density_of_fibres_does_not_depend_on_the_shape():
    wide = [nanofibres(seed, shape=(128, 512)).image.mean() for seed in range(4)]
    square = [nanofibres(seed, shape=(256, 256)).image.mean() for seed in range(4)]
    assert abs(np.mean(wide) - np.mean(square)) < 12


def test_fibres_have_no_preferred_direction():
    power = 0.0
    for seed in range(3):
        image = nanofibres(seed, shape=(384, 384)).image.astype(float)
        power = power + np.abs(np.fft.fft2(image - image.mean())) ** 2
    row, column = np.meshgrid(np.fft.fftfreq(384), np.fft.fftfreq(384), indexing="ij")
    ring = (np.hypot(row, column) > 0.03) & (np.hypot(row, column) < 0.15)
    shares = [
        power[ring & (np.abs(row) > np.abs(column))].sum(),
        power[ring & (np.abs(row) < np.abs(column))].sum(),
    ]
    assert 0.7 < shares[0] / shares[1] < 1.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 0, "shape": (32, 512)}, "shape"),
        ({"seed": 0, "shape": (512,)}, "shape"),
        ({"seed": 0, "defects": -2}, "number of defects"),
        ({"seed": 0, "defects": 0.5}, "number of defects"),
        ({"seed": 0, "defects": 200, "shape": (128, 128)}, "fit"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        nanofibres(**arguments)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)

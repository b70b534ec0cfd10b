"""Labels and Shapes layers as masks on the pixel grid of an image."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.plugin.layers.regions_of_interest import region_mask


@pytest.fixture
def image():
    return Image(np.zeros((40, 60)), scale=(2, 2), translate=(10, 10))


@pytest.fixture
def expected():
    mask = np.zeros((40, 60), bool)
    mask[5:20, 10:30] = True
    return mask


def test_labels_on_the_same_grid(image, expected):
    labels = Labels(expected * 3, scale=(2, 2), translate=(10, 10))
    np.testing.assert_array_equal(region_mask(labels, image), expected)


def test_labels_on_a_coarser_grid(image, expected):
    coarse = np.zeros((8, 6), int)
    coarse[1:4, 1:3] = 1  # 10 x 20 world units each: 5 x 10 pixels
    labels = Labels(coarse, scale=(10, 20), translate=(10 + 4, 10 + 9))
    np.testing.assert_array_equal(region_mask(labels, image), expected)


def test_labels_that_do_not_cover_the_image(image, expected):
    labels = Labels(np.ones((15, 20), int), scale=(2, 2), translate=(20, 30))
    np.testing.assert_array_equal(region_mask(labels, image), expected)


def test_shapes_drawn_in_world_units(image, expected):
    corners = np.array([[5, 10], [5, 29], [19, 29], [19, 10]]) * 2 + 10
    np.testing.assert_array_equal(region_mask(Shapes([corners]), image), expected)


def test_several_shapes_add_up(image):
    squares = [np.array([[0, 0], [0, 9], [9, 9], [9, 0]]) * 2 + 10 + 40 * k for k in (0, 1)]
    mask = region_mask(Shapes(squares), image)
    assert mask[:10, :10].all()
    assert mask[20:30, 20:30].all()
    assert mask.sum() == 200


def test_a_flat_region_holds_for_every_plane_of_a_stack(expected):
    stack = Image(np.zeros((3, 40, 60)))
    mask = region_mask(Labels(expected.astype(int)), stack)
    assert np.broadcast_to(mask, (3, 40, 60)).sum() == 3 * expected.sum()


def test_shapes_of_a_stack_count_on_the_plane_they_were_drawn_on():
    stack = Image(np.zeros((3, 40, 60)), scale=(5, 1, 1))
    square = np.array([[10, 0, 0], [10, 0, 9], [10, 9, 9], [10, 9, 0]])  # world 10: plane 2
    mask = region_mask(Shapes([square]), stack)
    assert mask.shape == (3, 40, 60)
    assert [int(plane.sum()) for plane in mask] == [0, 0, 100]


def test_rgb_images_have_a_mask_without_colour(expected):
    rgb = Image(np.zeros((40, 60, 3), np.uint8), rgb=True)
    assert region_mask(Labels(expected.astype(int)), rgb).shape == (40, 60)


@pytest.mark.parametrize(
    "region", [Labels(np.zeros((40, 60), int), name="none"), Shapes(name="none")]
)
def test_nothing_inside_is_refused(image, region):
    with pytest.raises(InputError, match=r"No pixel of .* lies inside 'none'"):
        region_mask(region, image)


def test_another_number_of_planes_is_refused():
    with pytest.raises(InputError, match="same number of planes"):
        region_mask(Labels(np.ones((2, 40, 60), int)), Image(np.zeros((3, 40, 60))))


@pytest.mark.parametrize(
    ("unit", "size"), [("nm", 1000.0), ("um", 1.0), ("mm", 1e-3), ("cm", 1e-4)]
)
def test_units_are_converted_as_napari_draws_them(expected, unit, size):
    image = Image(np.zeros((40, 60)), scale=(2, 2), translate=(10, 10), units=("um", "um"))
    coarse = np.zeros((8, 6), int)
    coarse[1:4, 1:3] = 1
    scale, translate = np.array([10, 20]) * size, np.array([14, 19]) * size
    labels = Labels(coarse, scale=scale, translate=translate, units=(unit, unit))
    np.testing.assert_array_equal(region_mask(labels, image), expected)
    corners = (np.array([[5, 10], [5, 29], [19, 29], [19, 10]]) * 2 + 10) * size
    shapes = Shapes([corners], units=(unit, unit))
    np.testing.assert_array_equal(region_mask(shapes, image), expected)


def test_shapes_of_a_stack_in_another_unit_count_on_their_plane():
    stack = Image(np.zeros((3, 40, 60)), scale=(5, 1, 1), units=("s", "um", "um"))
    square = np.array([[1e4, 0, 0], [1e4, 0, 9], [1e4, 9, 9], [1e4, 9, 0]]) / (1, 1e3, 1e3)
    mask = region_mask(Shapes([square], units=("ms", "mm", "mm")), stack)
    assert [int(plane.sum()) for plane in mask] == [0, 0, 100]


def test_pixels_beside_a_unit_count_as_they_are(expected):
    image = Image(np.zeros((40, 60)), units=("um", "um"))
    np.testing.assert_array_equal(region_mask(Labels(expected.astype(int)), image), expected)

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import AugmentationConfig
from napari_ssim_defects.core.patches.areas import TrainingArea, split
from napari_ssim_defects.core.patches.patch_source import PatchSource

NONE = AugmentationConfig()


def texture(rows, columns):
    """A smooth function of place."""
    return np.sin(rows / 3.1) * np.cos(columns / 4.3) + 0.1 * rows


def mapped(height, width, allowed=None, number=0):
    """An area whose first two channels are the coordinates of each pixel.

    So a patch tells where its pixels were taken from, however it was augmented.
    """
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    layers = [rows, columns, texture(rows, columns), np.full_like(rows, number)]
    return TrainingArea(np.stack(layers).astype(np.float32), allowed)


def source_of(*areas, size=8, augmentation=NONE):
    return PatchSource(areas, size, augmentation, torch.device("cpu"))


def augmented(source, count, seed=0):
    generator = np.random.default_rng(seed)
    return source.cut_augmented(source.positions(count, generator), generator).numpy()


def corners_of(patches):
    """(area, row, column) of patches that were cut as they are."""
    return patches[:, [3, 0, 1], 0, 0].astype(int)


def test_patches_are_exact_cuts():
    areas = [mapped(20, 30, number=0), mapped(9, 12, number=1)]
    patches = augmented(source_of(*areas), 200)
    assert patches.shape == (200, 4, 8, 8)
    assert patches.dtype == np.float32
    for patch, (area, row, column) in zip(patches, corners_of(patches), strict=True):
        expected = areas[area].pixels[:, row : row + 8, column : column + 8]
        np.testing.assert_array_equal(patch, expected)


def test_pixels_that_do_not_fit_on_the_device_stay_in_main_memory(monkeypatch):
    def to(tensor, where):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    area = mapped(20, 30)
    expected = augmented(source_of(area), 20)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "to", to)
        source = source_of(area)
    np.testing.assert_array_equal(augmented(source, 20), expected)


def test_every_position_of_every_area_is_drawn_equally_often():
    source = source_of(mapped(11, 10, number=0), mapped(8, 14, number=1), mapped(7, 50, number=2))
    positions = source.positions(31_000, np.random.default_rng(0))
    found, counts = np.unique(positions, axis=0, return_counts=True)
    assert found.shape[0] == 4 * 3 + 1 * 7  # the last area is too low for a patch
    expected = 31_000 / 19
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected)
    drawn = {tuple(row) for row in corners_of(source.cut(found).numpy()).tolist()}
    assert drawn == {(0, y, x) for y in range(4) for x in range(3)} | {(1, 0, x) for x in range(7)}


def irregular_mask(height=60, width=70, seed=0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 5)
    return noise > -0.02


def test_patches_hold_allowed_pixels_only_and_every_such_patch_occurs():
    allowed = irregular_mask()
    source = source_of(mapped(60, 70, allowed))
    positions = source.positions(60_000, np.random.default_rng(0))
    windows = np.lib.stride_tricks.sliding_window_view(allowed, (8, 8)).all(axis=(2, 3))
    assert 50 < windows.sum() < windows.size
    drawn = np.zeros_like(windows)
    drawn[positions[:, 1], positions[:, 2]] = True
    np.testing.assert_array_equal(drawn, windows)


@pytest.mark.parametrize(
    "augmentation",
    [
        AugmentationConfig(rotation=20, scale=0.2),
        AugmentationConfig(rotation=5),
        AugmentationConfig(scale=0.1, flips=True, quarter_turns=True),
    ],
)
def test_turned_and_scaled_patches_hold_allowed_pixels_only(augmentation):
    allowed = irregular_mask()
    patches = augmented(source_of(mapped(60, 70, allowed), augmentation=augmentation), 2000)
    rows, columns = patches[:, 0], patches[:, 1]
    for row, column in itertools.product((np.floor, np.ceil), repeat=2):
        # Interpolation between two pixels looks at both; rounding errors look at neither.
        y = row(rows + (0.001 if row is np.floor else -0.001)).astype(int)
        x = column(columns + (0.001 if column is np.floor else -0.001)).astype(int)
        assert allowed[y, x].all()


def test_mask_with_room_for_one_patch_gives_that_patch():
    allowed = np.zeros((20, 20), bool)
    allowed[7:15, 3:11] = True
    patches = augmented(
        source_of(mapped(20, 20, allowed), augmentation=AugmentationConfig(rotation=10)), 5
    )
    expected = mapped(20, 20).pixels[:, 7:15, 3:11]
    np.testing.assert_allclose(patches, np.broadcast_to(expected, patches.shape), atol=1e-4)


def symmetries(square):
    """All eight images of a square under flips and quarter turns."""
    return [np.rot90(s, k) for s in (square, square[:, ::-1]) for k in range(4)]


@pytest.mark.parametrize(
    ("flips", "quarter_turns", "number"), [(True, True, 8), (False, True, 4), (False, False, 1)]
)
def test_flips_and_quarter_turns_are_exact_symmetries(flips, quarter_turns, number):
    augmentation = AugmentationConfig(flips=flips, quarter_turns=quarter_turns)
    area = mapped(8, 8)  # room for one patch
    patches = augmented(source_of(area, augmentation=augmentation), 200)
    turns = [[np.array_equal(patch[2], s) for s in symmetries(area.pixels[2])] for patch in patches]
    assert np.sum(turns, axis=1).tolist() == [1] * 200
    assert np.any(turns, axis=0).sum() == number
    for patch, turn in zip(patches, turns, strict=True):  # channels are turned together
        np.testing.assert_array_equal(patch[0], symmetries(area.pixels[0])[turn.index(True)])


def test_flips_alone_mirror_and_do_not_turn():
    area = mapped(8, 8)
    patches = augmented(source_of(area, augmentation=AugmentationConfig(flips=True)), 100)
    mirrored = {
        name: any(np.array_equal(patch[2], image) for patch in patches)
        for name, image in {
            "same": area.pixels[2],
            "left-right": area.pixels[2][:, ::-1],
            "transposed": area.pixels[2].T,
        }.items()
    }
    assert mirrored == {"same": True, "left-right": True, "transposed": False}


def maps_of(patches):
    """Matrix (2, 2) from patch to image coordinates and centre of each patch, and its error."""
    offsets = np.mgrid[:16, :16].reshape(2, -1) - 7.5
    taken = patches[:, :2].reshape(len(patches), 2, -1)
    centres = taken.mean(axis=2)
    matrices = (taken - centres[..., None]) @ np.linalg.pinv(offsets)
    return matrices, centres, np.abs(matrices @ offsets + centres[..., None] - taken).max()


def test_rotation_and_scale_are_as_large_as_they_say():
    area = mapped(120, 130)
    inner = np.zeros((120, 130), bool)
    inner[30:-30, 30:-30] = True  # patches whose surroundings lie in the image
    augmentation = AugmentationConfig(rotation=12, scale=0.1)
    source = source_of(area, size=16, augmentation=augmentation)
    generator = np.random.default_rng(0)
    positions = source.positions(4000, generator)
    positions = positions[inner[positions[:, 1], positions[:, 2]]]
    patches = source.cut_augmented(positions, generator).numpy()
    matrices, centres, error = maps_of(patches)
    assert error < 1e-3  # a linear map: neither bent nor sheared
    np.testing.assert_allclose(centres, positions[:, 1:] + 7.5, atol=1e-3)
    scales = np.sqrt(np.linalg.det(matrices))
    np.testing.assert_allclose(
        matrices @ matrices.transpose(0, 2, 1), scales[:, None, None] ** 2 * np.eye(2), atol=1e-4
    )
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    for values, low, high in ((angles, -12, 12), (scales, 0.9, 1.1)):
        span = high - low
        assert low - 1e-3 <= values.min() < low + 0.05 * span
        assert high - 0.05 * span < values.max() <= high + 1e-3
        assert abs(values.mean() - (low + high) / 2) < 0.05 * span


def test_turned_patches_are_the_image_between_its_pixels():
    patches = augmented(
        source_of(mapped(90, 80), size=16, augmentation=AugmentationConfig(rotation=30, scale=0.3)),
        300,
    )
    image = mapped(90, 80).pixels[2]
    expected = ndimage.map_coordinates(
        image, [patches[:, 0], patches[:, 1]], order=1, mode="nearest"
    )
    np.testing.assert_allclose(patches[:, 2], expected, atol=2e-3)
    np.testing.assert_allclose(patches[:, 2], texture(patches[:, 0], patches[:, 1]), atol=0.05)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 40), (17, 17)])
@pytest.mark.parametrize("rotation", [5, 45])
def test_turned_patches_at_the_border_show_nothing_but_the_image(height, width, rotation):
    augmentation = AugmentationConfig(rotation=rotation, scale=0.5)
    area = mapped(height, width, number=5)
    patches = augmented(source_of(area, size=16, augmentation=augmentation), 300)
    np.testing.assert_allclose(patches[:, 3], 5, atol=1e-4)  # zeros would show here
    for axis, side in enumerate((height, width)):
        assert patches[:, axis].min() > -1e-3
        assert patches[:, axis].max() < side - 1 + 1e-3
    expected = ndimage.map_coordinates(
        area.pixels[2], [patches[:, 0], patches[:, 1]], order=1, mode="nearest"
    )
    np.testing.assert_allclose(patches[:, 2], expected, atol=2e-3)


def test_cut_ignores_the_augmentation():
    area = mapped(30, 30)
    positions = np.array([[0, 0, 0], [0, 22, 22], [0, 3, 17]])
    warped = source_of(area, augmentation=AugmentationConfig(rotation=20, scale=0.2, flips=True))
    np.testing.assert_array_equal(warped.cut(positions), source_of(area).cut(positions))


def test_brightness_and_contrast_change_within_their_limits(rng):
    area = TrainingArea(rng.random((2, 8, 8), dtype=np.float32))
    augmentation = AugmentationConfig(brightness=0.1, contrast=0.3)
    patches = augmented(source_of(area, augmentation=augmentation), 500)
    means, original = patches.mean(axis=(2, 3)), area.pixels.mean(axis=(1, 2))
    gains = patches.std(axis=(2, 3)) / area.pixels.std(axis=(1, 2))
    shifts = means - original
    np.testing.assert_allclose(shifts[:, 0], shifts[:, 1], atol=1e-5)  # one for all channels
    np.testing.assert_allclose(gains[:, 0], gains[:, 1], atol=1e-5)
    for values, low, high in ((shifts, -0.1, 0.1), (gains, 0.7, 1.3)):
        assert low - 1e-4 <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high + 1e-4


EVERYTHING = AugmentationConfig(
    flips=True, quarter_turns=True, rotation=5, scale=0.1, brightness=0.1, contrast=0.1
)


@pytest.mark.parametrize("augmentation", [NONE, EVERYTHING])
def test_training_pixels_are_left_as_they_are(augmentation):
    allowed = irregular_mask()
    area = mapped(60, 70, allowed)
    before = area.pixels.copy(), allowed.copy()
    area.pixels.flags.writeable = area.allowed.flags.writeable = False
    augmented(source_of(area, augmentation=augmentation), 50)
    np.testing.assert_array_equal(area.pixels, before[0])
    np.testing.assert_array_equal(area.allowed, before[1])


def test_image_of_the_patch_size_has_room_for_one_patch():
    positions = source_of(mapped(8, 8)).positions(10, np.random.default_rng(0))
    np.testing.assert_array_equal(positions, np.zeros((10, 3)))


HOLED = np.ones((12, 12), bool)
HOLED[5:7, 5:7] = False


@pytest.mark.parametrize("areas", [[mapped(7, 100)], [mapped(100, 7)], [mapped(12, 12, HOLED)], []])
@pytest.mark.parametrize("augmentation", [NONE, EVERYTHING])
def test_no_room_for_a_patch_is_refused(areas, augmentation):
    with pytest.raises(InputError, match="room for a patch of 8 x 8"):
        source_of(*areas, augmentation=augmentation)


def places(areas):
    """Every pixel that patches may be cut from, as (area, row, column)."""
    return {
        tuple(place)
        for area in areas
        for place in area.good_pixels[[3, 0, 1]].T.astype(int).tolist()
    }


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("count", [5, 6, 9, 10])
def test_of_many_images_whole_ones_are_held_out(count, fraction):
    areas = [mapped(20, 20, number=number) for number in range(count)]
    training, held_out = split(areas, fraction, 8)
    assert len(held_out) == max(1, round(fraction * count))
    assert len(training) + len(held_out) == count
    assert {id(area) for area in (*training, *held_out)} == {id(area) for area in areas}


@pytest.mark.parametrize("shape", [(100, 40), (40, 100), (110, 110)])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.4])
@pytest.mark.parametrize("count", [1, 4])
def test_of_few_images_a_band_of_each_is_held_out(shape, fraction, count):
    areas = [mapped(*shape, number=number) for number in range(count)]
    training, held_out = split(areas, fraction, 16)
    assert len(training) == len(held_out) == count
    assert not places(training) & places(held_out)
    assert places(training) | places(held_out) == places(areas)
    for area in (*training, *held_out):
        assert min(area.pixels.shape[1:]) >= 16
    share = len(places(held_out)) / len(places(areas))
    assert share == pytest.approx(max(fraction, 16 / max(shape)), abs=0.01)


def test_masks_are_split_with_their_images():
    allowed = irregular_mask(100, 60)
    (training,), (held_out,) = split([mapped(100, 60, allowed)], 0.3, 8)
    for part in (training, held_out):
        rows, columns = part.good_pixels[:2].astype(int)
        assert allowed[rows, columns].all()
    assert len(training.good_pixels[0]) + len(held_out.good_pixels[0]) == allowed.sum()


@pytest.mark.parametrize("side", [8, 20, 23])
def test_small_images_are_not_split(side):
    area = mapped(side, side)
    assert split([area], 0.5, 8) == ([area], [])


def test_nothing_is_held_out_where_masks_leave_no_room():
    allowed = np.ones((100, 30), bool)
    allowed[60:] = False
    area = mapped(100, 30, allowed)
    assert split([area], 0.2, 8) == ([area], [])


def test_nothing_is_held_out_when_nothing_is_wanted():
    areas = [mapped(100, 100, number=number) for number in range(6)]
    assert split(areas, 0, 8) == (areas, [])


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("large", [{2}, {0, 5}, {0, 1, 3, 4, 5}, {1, 2, 3, 4, 5, 6}])
def test_images_without_room_for_a_patch_do_not_decide_the_split(fraction, large):
    areas = [mapped(8 if number in large else 7, 8, number=number) for number in range(7)]
    training, held_out = split(areas, fraction, 8)
    assert source_of(*training)
    assert not held_out or source_of(*held_out)
    assert bool(held_out) == (len(large) >= 5)

"""What a user of the checkerboard may rely on."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.samples import checkerboard


def auroc(score, truth):
    """Area under the ROC curve: rank sum of the positives."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse].reshape(truth.shape)
    positives = truth.sum()
    rank_sum = ranks[truth].sum() - positives * (positives + 1) / 2
    return rank_sum / positives / (truth.size - positives)


def residuals(sample):
    _, similarity = structural_similarity(
        sample.image,
        sample.reconstruction,
        win_size=11,
        data_range=1.0,
        use_sample_covariance=False,
        full=True,
    )
    return 1 - similarity, (sample.image - sample.reconstruction) ** 2


@pytest.mark.parametrize("seed", range(5))
def test_ssim_separates_strokes_from_misplaced_edges_and_squared_error_does_not(seed):
    sample = checkerboard(seed)
    ssim, squared = (auroc(residual, sample.labels > 0) for residual in residuals(sample))
    assert ssim > 0.9
    assert ssim > squared + 0.08


def test_arrays_have_the_documented_shapes_types_and_ranges():
    sample = checkerboard(shape=(200, 300), square=20)
    for array in (sample.image, sample.reconstruction):
        assert array.shape == (200, 300)
        assert array.dtype == np.float32
        assert 0 <= array.min() < array.max() <= 1
    assert sample.labels.dtype == np.int32
    assert np.unique(sample.labels).tolist() == [0, 1, 2, 3, 4]


def test_strokes_change_exactly_the_labelled_pixels():
    bad, good = checkerboard(2), checkerboard(2, defects=False)
    assert not good.labels.any()
    assert np.array_equal(bad.reconstruction, good.reconstruction)
    outside = bad.labels == 0
    assert np.array_equal(bad.image[outside], good.image[outside])
    assert np.mean(bad.image[~outside] != good.image[~outside]) > 0.98


def test_strokes_have_less_contrast_than_the_squares():
    bad, good = checkerboard(0), checkerboard(0, defects=False)
    assert np.abs(bad.image - good.image).max() < 0.5 * np.ptp(good.image)


def test_same_seed_gives_same_sample_and_another_seed_another():
    assert np.array_equal(checkerboard(1).image, checkerboard(1).image)
    assert not np.array_equal(checkerboard(1).image, checkerboard(2).image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"seed": -1}, "seed"), ({"square": 4}, "squares"), ({"shape": (40, 256)}, "shape")],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        checkerboard(**arguments)

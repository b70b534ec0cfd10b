"""Whatever is handed in: a right answer, or one sentence that says what is wrong with it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from skimage.metrics import structural_similarity

from napari_ssim_defects import InputError, SegmentationConfig, TrainingConfig, segment, train
from napari_ssim_defects.core.evaluation.scores import evaluate
from napari_ssim_defects.core.images.intensity import IntensityRange
from napari_ssim_defects.core.model.calibration import Calibration
from napari_ssim_defects.core.model.thresholds import parse_threshold
from napari_ssim_defects.core.ssim import ssim_map
from napari_ssim_defects.core.training.messages import TrainingFinished

REAL = ["?", "u1", "i2", ">u2", "i8", "u8", "f2", "f4", ">f4", "f8", "g"]
OTHER = ["c8", "O", "U3", "M8[s]", "V4"]
SHAPES = st.one_of(
    arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=7),
    st.sampled_from([(1, 1), (41, 1), (1, 41), (20, 24), (1, 2, 1, 9, 8)]),
)
LAYOUTS = ["plain", "reversed", "transposed", "read-only", "masked", "unmasked"]
VALUES = [0.0, 1.0, 0.5, 0.25, -1.0, 200.0, 3e38, 1e300, -1e300, np.nan, np.inf]


@st.composite
def anything(draw, shapes=SHAPES, dtypes=(*REAL, *OTHER), values=tuple(VALUES)):
    """An array of any shape, type, layout and range."""
    shape, dtype = draw(shapes), draw(st.sampled_from(dtypes))
    pool = np.array(draw(st.lists(st.sampled_from(values), min_size=1, max_size=4)))
    seed = draw(st.integers(0, 5))
    array = np.random.default_rng(seed).choice(pool, shape)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        array = array.astype("i4").view("V4") if dtype == "V4" and shape else array.astype(
            "U3" if dtype == "V4" else dtype
        )  # fmt: skip
    match draw(st.sampled_from(LAYOUTS)):
        case "reversed":
            array = array[(slice(None, None, -1),) * array.ndim]
        case "transposed":
            array = np.asfortranarray(array)
        case "read-only":
            array.flags.writeable = False
        case "masked":
            array = np.ma.masked_array(array, np.arange(array.size).reshape(shape) % 2 == 0)
        case "unmasked":
            array = np.ma.masked_array(array)
    return array


def answer(function, *inputs, **options):
    """What a function returns; None if it refuses in one sentence. Arrays stay as they are."""
    before = [np.array(value) for value in inputs if isinstance(value, np.ndarray)]
    try:
        result = function(*inputs, **options)
    except InputError as error:
        sentence = str(error)
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert 20 < len(sentence) < 400
        result = None
    after = [value for value in inputs if isinstance(value, np.ndarray)]
    for old, new in zip(before, after, strict=True):
        assert old.tobytes() == np.array(new).tobytes()
    return result


def is_real(array):
    return array.dtype.kind in "buif" and not np.ma.is_masked(array)


def single(array):
    with np.errstate(over="ignore"):
        return np.array(array, dtype=np.float32, order="C")


THRESHOLDS = st.one_of(
    st.sampled_from([0, 0.5, -1e300, 1e300, 10**400, True, "0.5", None, 1j, np.float64(0.25)]),
    st.sampled_from([np.nan, np.inf, -np.inf, [0.5], np.float32(0.5), b"1"]),
)


@settings(max_examples=150)
@given(anything(), THRESHOLDS)
@example(np.ones((3, 4), complex), 0.5)
@example(np.ma.masked_array(np.ones((3, 4)), np.eye(3, 4)), 0.5)
@example(np.full((3, 4), 1e300), 0.5)
@example(np.zeros((3, 4)), 1e300)
@example(np.array([["a"]]), 0.5)
def test_any_residual_is_segmented_rightly_or_refused(residual, threshold):
    plain = {"opening": 0, "closing": 0, "min_area": 0, "convex_hull": False, "fill_holes": False}
    labels = answer(segment, residual, threshold, **plain)
    usable = is_real(residual) and residual.ndim >= 2 and 0 not in residual.shape[-2:]
    usable = usable and not np.isnan(single(residual)).any()
    if labels is None:
        assert not usable or not isinstance(threshold, float | int) or abs(threshold) > 1e308 or (
            threshold != threshold
        )  # fmt: skip
        return
    assert usable
    assert labels.shape == residual.shape
    assert labels.dtype == np.int32
    with np.errstate(over="ignore"):
        mask = single(residual) > np.float32(threshold)
    before = 0
    for index in np.ndindex(labels.shape[:-2]):
        expected, count = ndimage.label(mask[index], np.ones((3, 3)))
        np.testing.assert_array_equal(labels[index], np.where(expected, expected + before, 0))
        before += count


SETTINGS = st.sampled_from(
    [10**400, -1, 0, 1, 3, 255, 256, 10**30, 2.5, "4", None, True, np.nan, np.int64(3)]
)


@given(st.sampled_from([*SegmentationConfig.model_fields]), SETTINGS)
@example("min_area", 10**400)
@example("max_area", 10**400)
def test_any_setting_of_the_segmentation_is_used_or_refused(name, value):
    residual = np.random.default_rng(0).random((12, 15), dtype=np.float32)
    labels = answer(segment, residual, 0.7, **{name: value})
    assert labels is None or labels.shape == residual.shape


@settings(max_examples=60)
@given(
    shape=st.sampled_from([(11, 11), (5, 30), (1, 1), (2, 40), (16, 17)]),
    size=st.sampled_from([3, 7, 11, 33]),
    window=st.sampled_from(["uniform", "gaussian"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    power=st.integers(-90, 90),
    outlier=st.sampled_from([None, 1e2, 1e5, 9e6]),
)
@example((16, 17), 7, "uniform", torch.float32, 30, None)
@example((16, 17), 7, "uniform", torch.float32, -30, None)
@example((16, 17), 11, "uniform", torch.float32, 0, 9e6)
def test_ssim_is_that_of_scikit_image_at_any_range(shape, size, window, dtype, power, outlier):
    """Scaling both images and their range changes nothing, whatever a number format holds."""
    if dtype == torch.float32:
        power = power // 3  # what float32 holds
    rng = np.random.default_rng(size)
    x = rng.random(shape)
    y = np.clip(x + 0.3 * rng.normal(size=shape), 0, 1)
    if outlier is not None:
        x[0, 0] = outlier
    scale = 10.0**power
    if dtype == torch.float32:
        x, y = (np.float32(z).astype(float) for z in (x * scale, y * scale))
    else:
        x, y = x * scale, y * scale
    tensors = [torch.as_tensor(z, dtype=dtype)[None, None] for z in (x, y)]
    found = ssim_map(*tensors, window_size=size, window=window, data_range=scale)
    assert found.dtype == dtype
    padded = [np.pad(z / scale, size, mode="symmetric") for z in (x, y)]
    weights = np.ones(size)
    if window == "gaussian":
        weights = np.exp(-0.5 * (np.arange(size) - size // 2) ** 2 / 1.5**2)
    weights /= weights.sum()

    def mean(z):
        return ndimage.correlate1d(ndimage.correlate1d(z, weights, 0), weights, 1)

    a, b = map(mean, padded)
    v, w = (mean(z * z) - m * m for z, m in zip(padded, (a, b), strict=True))
    s = mean(padded[0] * padded[1]) - a * b
    expected = (2 * a * b + 1e-4) * (2 * s + 9e-4) / ((a * a + b * b + 1e-4) * (v + w + 9e-4))
    inner = (slice(size, -size),) * 2
    if window == "uniform" and outlier is None:
        _, theirs = structural_similarity(
            *padded, win_size=size, data_range=1.0, use_sample_covariance=False, full=True
        )
        np.testing.assert_allclose(expected[inner], theirs[inner], atol=1e-6)
    tolerance = 1e-6 if dtype == torch.float64 and outlier is None else 2e-4
    np.testing.assert_allclose(found[0, 0].numpy(), expected[inner], atol=tolerance)


RANGES = [1.0, 0, -1, 1e-300, 1e300, 10**400, "1", None, np.nan, np.inf, np.float32(2)]


@given(
    st.sampled_from([(1, 1, 9, 9), (0, 1, 9, 9), (1, 0, 9, 9), (1, 1, 0, 9), (9, 9), (),
                     (2, 3, 1, 1)]),
    st.sampled_from([torch.float16, torch.bool, torch.int64, torch.complex64, torch.bfloat16,
                     None]),
    st.sampled_from(RANGES),
    st.sampled_from([3, 11, 2, 0, -3, 255, 257, 10**30, 3.5, "3", None]),
    st.sampled_from(["same", "valid", "full", None]),
    st.sampled_from([1.0, 1e4, 1e30, np.inf, np.nan]),
)  # fmt: skip
def test_ssim_of_any_tensors_is_finite_or_refused(shape, dtype, data_range, size, border, value):
    if dtype is None:
        x = np.zeros(shape)  # no tensor
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = torch.full(shape, value).to(dtype)
    found = answer(ssim_map, x, x, data_range=data_range, window_size=size, border=border)
    if found is not None:
        assert bool(torch.isfinite(found).all())
        assert found.numel() == 0 or float(found.min()) == pytest.approx(1, abs=1e-5)


STRIDES = st.sampled_from([None, 1, 5, 16, 10**30, np.int8(3), 0, -1, 1.5, "8", np.nan])


@pytest.mark.filterwarnings("ignore:Intensities of:UserWarning")
@settings(max_examples=100)
@given(anything(), STRIDES, st.sampled_from([None, 0, -1, 3, 10**30, 1.0, "x"]))
@example(np.full((20, 20), 3e38), None, None)
@example(np.array([[3e38, -3e38]] * 4), None, None)
@example(np.ma.masked_array(np.ones((20, 20)), np.eye(20)), None, None)
def test_any_image_is_inspected_with_finite_residuals_or_refused(
    grey_model, image, stride, channel_axis
):
    assume(image.size < 3000)
    options = {"stride": stride, "channel_axis": channel_axis, "device": "cpu"}
    residual = answer(grey_model.residual, image, **options)
    picture = answer(grey_model.reconstruct, image, **options)
    assert (residual is None) == (picture is None)
    if residual is None:
        return
    assert is_real(image)
    assert residual.dtype == picture.dtype == np.float32
    assert np.isfinite(residual).all()
    assert np.isfinite(picture).all()
    assert picture.shape == image.shape
    again = grey_model.residual(single(np.ma.getdata(image)), **options)
    np.testing.assert_array_equal(residual, again)


@settings(max_examples=80)
@given(st.lists(anything(), max_size=3), st.floats(0, 1))
@example([], 0.5)
@example([np.full((4, 4), np.nan)], 0.5)
@example([np.ones((4, 4), int)], 0.5)
@example([np.ones((4, 4), object)], 0.5)
def test_any_residuals_give_quantiles_or_are_refused(residuals, rate):
    calibration = answer(Calibration.from_residuals, residuals, held_out=True)
    if calibration is None:
        return
    assert all(map(is_real, residuals))
    good = np.concatenate([single(residual).ravel() for residual in residuals])
    good = np.sort(good[np.isfinite(good)].astype(float))
    assert calibration.pixels == len(good)
    level = calibration.threshold(rate)
    assert good[0] <= level <= good[-1]
    for knot, threshold in zip(calibration.tail[::60], calibration.thresholds[::60], strict=True):
        assert threshold == pytest.approx(np.quantile(good, 1 - knot), rel=1e-5, abs=1e-6)
    assert 0 <= calibration.false_positive_rate(level) <= 1
    assert np.isfinite(calibration.contrast_limits).all()


@given(st.sampled_from([0.5, -1, 2, 10**400, "0.5", None, np.nan, np.inf, [1], True, 1j, 5.5]))
def test_any_rate_area_and_threshold_is_answered_or_refused(value):
    scores = np.random.default_rng(0).random((20, 20), dtype=np.float32)
    calibration = Calibration.from_residuals([scores], held_out=True)
    for question in (
        calibration.threshold, calibration.false_positive_rate, calibration.threshold_of_area
    ):  # fmt: skip
        found = answer(question, value)
        assert found is None or np.isfinite(found)


@settings(max_examples=120)
@given(anything(), anything(values=(0.0, 1.0, np.nan)), st.booleans())
@example(np.zeros((0, 4), np.float32), np.zeros((0, 4), bool), False)
@example(np.zeros((1, 3, 3), np.float32), np.eye(3, dtype=bool)[None], False)
@example(np.full((3, 3), 1e300), np.eye(3, dtype=bool), False)
@example([[0.0, 1.0]], [[0, 1]], False)
def test_any_masks_score_residuals_rightly_or_are_refused(residual, mask, same_shape):
    if same_shape and mask.size:
        mask = np.resize(np.array(mask), residual.shape)
    found = answer(evaluate, [residual], [mask])
    if found is None:
        return
    values, truth = single(residual), np.array(mask).astype(bool)
    if not truth.any():  # only false alarms can be counted
        assert (found.auroc, found.auprc, found.aupro) == (None, None, None)
        return
    bad, good = values[truth][:, None], values[~truth]
    expected = ((bad > good) + 0.5 * (bad == good)).mean()
    assert found.auroc == pytest.approx(expected, abs=1e-9)
    assert np.isfinite([found.auprc, found.aupro, *found.overlap_quantiles.values()]).all()


@given(
    st.text(max_size=12) | st.sampled_from(["fpr:1e-999", "region:" + "9" * 5000, "::1", "1e400"])
)
def test_any_text_is_a_threshold_that_is_written_as_it_is_read_or_refused(text):
    policy = answer(parse_threshold, text)
    if policy is not None:
        again = parse_threshold(str(policy))
        assert type(again) is type(policy)
        assert again.threshold_for.__func__ is policy.threshold_for.__func__


TINY = {"patch_size": 16, "latent_dimension": 4, "patches": 8, "epochs": 1, "batch_size": 4,
        "stride": 8}  # fmt: skip


def trained(images, **changes):
    options = {name: changes.pop(name) for name in ("masks", "names", "channel_axis")
               if name in changes}  # fmt: skip
    config = TrainingConfig(**{**TINY, **changes})
    *_, last = train(images, config, device="cpu", **options)
    assert isinstance(last, TrainingFinished)
    return last.model


@pytest.mark.slow
@settings(max_examples=40)
@given(
    anything(
        shapes=st.sampled_from([(), (0, 20), (15, 400), (16, 16), (40, 17), (2, 20, 20),
                                (20, 20, 3)]),
        values=(0.0, 1.0, 0.5, 200.0, 3e38, 1e-42, np.nan),
    ),
    st.sampled_from([{}, {"batch_size": 1}, {"batch_size": 2, "patches": 3}, {"validation": 0.5},
                     {"learning_rate": 1e300}, {"minutes": 1e-300}, {"channel_axis": 7},
                     {"masks": [np.full((20, 20), np.nan)]}, {"masks": []}, {"names": [None]}]),
)  # fmt: skip
@example(np.float32(np.random.default_rng(0).random((20, 20))), {"batch_size": 1})
@example(np.float32(np.random.default_rng(0).random((20, 20))), {"names": [None]})
@example(np.where(np.eye(20), 3e38, np.random.default_rng(0).random((20, 20))), {})
@example(1e-44 * np.random.default_rng(0).random((20, 20)), {})
def test_any_image_is_trained_on_or_refused(image, changes):
    model = answer(lambda picture: trained([picture], **changes), image)
    if model is not None:
        assert is_real(image)
        residual = answer(lambda picture: model.residual(picture, device="cpu"), image)
        assert residual is None or np.isfinite(residual).all()
        assert np.isfinite(model.auto_threshold)


@given(
    st.sampled_from([*TrainingConfig.model_fields]),
    st.sampled_from([0, 1, -1, 2.5, 10**18, 10**400, 1e300, np.nan, np.inf, "", "ssim", None, [],
                     {}, (0, 1), b"1", {"kind": "ssim"}, {"kind": []}, [{}] * 3]),
)  # fmt: skip
def test_any_value_of_a_recipe_is_kept_or_refused(name, value):
    config = answer(TrainingConfig, **{name: value})
    if config is not None:
        assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


def test_numbers_as_text_are_numbers_or_refused():
    x = torch.rand(1, 1, 12, 12)
    for options in (
        {"window": "gaussian", "sigma": "1.5"},
        {"window_size": "3", "border": "valid"},
    ):
        found = answer(ssim_map, x, x, **options)
        assert found is None or bool(torch.isfinite(found).all())


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1e-45), (-3e38, 3e38), (0, 1e35), (1, 1), (np.nan, 1), (0, np.inf)]
)
def test_intensities_that_cannot_be_computed_with_are_refused(low, high):
    with pytest.raises(InputError, match="to compute with"):
        IntensityRange((low,), (high,))


def test_a_missing_value_code_is_named_and_not_scored(grey_model, material):
    """-3.4e38 stands for "no data" in many a file; it must not drown the pixels around it."""
    image = material(3).astype(np.float32)
    image[5, 5] = np.finfo(np.float32).min
    with pytest.raises(InputError, match=r"^Pixels of 'weave' \(.* lie more than a million times"):
        list(grey_model.detect(image, name="'weave'", device="cpu"))

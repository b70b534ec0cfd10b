from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.images.planes import as_planes


def stacked(planes):
    """All planes at once, of shape (N, C, H, W)."""
    return np.stack(list(planes))


def test_grey_image_is_one_plane_of_one_channel(rng):
    image = rng.random((5, 7))
    planes = as_planes(image)
    assert (len(planes), planes.channels, planes.channel_axis) == (1, 1, None)
    assert (planes.height, planes.width, planes.leading_shape) == (5, 7, ())
    assert planes.shape == (5, 7)
    np.testing.assert_array_equal(planes[0], image[None].astype(np.float32))


def test_stack_has_a_plane_per_leading_index_in_c_order(rng):
    image = rng.random((2, 3, 5, 6))
    planes = as_planes(image)
    assert planes.shape == image.shape
    np.testing.assert_array_equal(stacked(planes), image.reshape(6, 1, 5, 6).astype(np.float32))


@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_rgb_is_recognised_by_its_last_axis(rng, leading):
    image = rng.integers(0, 256, (*leading, 5, 6, 3), dtype=np.uint8)
    planes = as_planes(image)
    assert (planes.channels, planes.channel_axis) == (3, -1)
    assert planes.shape == (*leading, 5, 6)
    np.testing.assert_array_equal(stacked(planes), np.moveaxis(image.reshape(-1, 5, 6, 3), -1, 1))


@pytest.mark.parametrize("leading", [(), (4,)])
def test_opacity_of_rgba_is_left_out(rng, leading):
    image = rng.integers(0, 256, (*leading, 5, 6, 4), dtype=np.uint8)
    planes = as_planes(image)
    assert (planes.channels, planes.channel_axis) == (3, -1)
    np.testing.assert_array_equal(stacked(planes), stacked(as_planes(image[..., :3])))


def test_opacity_may_be_meaningless(rng):
    image = rng.random((5, 6, 4))
    image[..., 3] = np.nan
    assert as_planes(image)[0].shape == (3, 5, 6)


def test_four_named_channels_are_four_channels(rng):
    image = rng.random((5, 6, 4), dtype=np.float32)
    planes = as_planes(image, -1)
    assert planes.channels == 4
    np.testing.assert_array_equal(planes[0], np.moveaxis(image, -1, 0))


def test_grey_stack_that_looks_like_rgb_can_be_named_grey(rng):
    image = rng.random((5, 6, 3), dtype=np.float32)
    planes = as_planes(image, grey=True)
    assert (len(planes), planes.channels, planes.shape) == (5, 1, (5, 6, 3))
    np.testing.assert_array_equal(stacked(planes)[:, 0], image)


@given(
    leading=st.lists(st.integers(1, 3), max_size=2),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    channels=st.integers(1, 5),
    data=st.data(),
)
def test_planes_are_the_array_with_its_axes_moved(leading, height, width, channels, data):
    ndim = len(leading) + 3
    axis = data.draw(st.integers(-ndim, ndim - 1))
    plain = np.arange(np.prod([*leading, channels, height, width]), dtype=np.uint16)
    plain = plain.reshape(*leading, channels, height, width)
    image = np.moveaxis(plain, -3, axis)
    planes = as_planes(image, axis)
    assert planes.channels == channels
    assert planes.shape == (*leading, height, width)
    assert len(planes) == np.prod(leading, dtype=int)
    assert planes.channel_axis in (axis, axis - ndim)
    np.testing.assert_array_equal(
        stacked(planes), plain.reshape(-1, channels, height, width).astype(np.float32)
    )


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", ">u2", "<i4", ">i4", "u8", "f2", "f4", ">f4", "f8", ">f8", "g"]
)
def test_every_real_number_format_becomes_float32(dtype):
    image = np.arange(12).reshape(3, 4).astype(dtype)
    plane = as_planes(image)[0]
    assert plane.dtype == np.dtype(np.float32)
    assert plane.dtype.isnative
    assert plane.flags.c_contiguous
    np.testing.assert_array_equal(plane[0], np.arange(12).reshape(3, 4))


@pytest.mark.parametrize("channel_axis", [None, 0])
def test_planes_are_copies_that_may_be_changed(channel_axis):
    image = np.ones((3, 4, 5), np.float32)
    image.flags.writeable = False
    plane = as_planes(image, channel_axis)[0]
    plane[:] = 7
    assert (image == 1).all()


def test_array_views_and_nested_lists_are_images(rng):
    image = rng.random((8, 9))
    np.testing.assert_array_equal(as_planes(image[::-2, ::3])[0][0], np.float32(image[::-2, ::3]))
    np.testing.assert_array_equal(as_planes([[1, 2], [3, 4]])[0], [[[1, 2], [3, 4]]])


def test_planes_are_read_one_at_a_time(rng):
    class Recorder:
        def __init__(self, array):
            self.array, self.shape, self.dtype = array, array.shape, array.dtype
            self.read = []

        def __getitem__(self, index):
            part = self.array[index]
            self.read.append(part.size)
            return part

    image = Recorder(rng.random((6, 4, 5)))
    planes = as_planes(image)
    assert image.read == []
    planes[2]
    assert image.read == [20]


@pytest.mark.parametrize("channel_axis", [None, 1, -1])
def test_dask_arrays_give_the_planes_of_their_numpy_arrays(rng, channel_axis):
    array = pytest.importorskip("dask.array")
    image = rng.random((3, 4, 6, 5), dtype=np.float32)
    lazy = array.from_array(image, chunks=(2, 3, 2, 5))
    planes = as_planes(lazy, channel_axis)
    assert isinstance(planes[0], np.ndarray)
    np.testing.assert_array_equal(stacked(planes), stacked(as_planes(image, channel_axis)))


@pytest.mark.parametrize("index", [-1, 6, 100])
def test_there_is_no_plane_outside_the_stack(index):
    with pytest.raises(IndexError):
        as_planes(np.zeros((2, 3, 4, 5)))[index]


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(bool, "bool"), (complex, "complex128"), (str, "<U"), (object, "object"), ("M8[s]", "date")],
)
def test_what_is_no_real_number_is_refused(dtype, name):
    with pytest.raises(InputError, match=f"Image has dtype {name}"):
        as_planes(np.zeros((4, 5), dtype=dtype))


@pytest.mark.parametrize(("shape", "has"), [((), "0 dimensions"), ((5,), "1 dimension;")])
def test_what_is_no_image_is_refused(shape, has):
    with pytest.raises(InputError, match=f"Image has {has}"):
        as_planes(np.zeros(shape))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 4, 5), (4, 5, 0)])
def test_empty_image_is_refused(shape):
    with pytest.raises(InputError, match="Image is empty"):
        as_planes(np.zeros(shape))


@pytest.mark.parametrize(("shape", "axis"), [((4, 5), 0), ((4, 5, 6), 3), ((4, 5, 6), -4)])
def test_missing_channel_axis_is_refused(shape, axis):
    with pytest.raises(InputError, match=f"no axis {axis} for channels"):
        as_planes(np.zeros(shape), axis)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_pixels_without_a_value_are_named_in_one_sentence(value):
    image = np.zeros((2, 4, 5))
    image[1, 2, 3] = value
    planes = as_planes(image, name="'weave'")
    planes[0]
    with pytest.raises(InputError, match=r"^Plane 1 of 'weave' has NaN or infinite pixels; .*\.$"):
        planes[1]
    with pytest.raises(InputError, match=r"^'weave' has NaN or infinite pixels"):
        as_planes(image[1], name="'weave'")[0]


def test_messages_begin_like_sentences_but_leave_file_names_alone():
    with pytest.raises(InputError, match=r"^Training image 1 has"):
        as_planes(np.zeros(3), name="training image 1")
    with pytest.raises(InputError, match=r"^weave\.tif has"):
        as_planes(np.zeros(3), name="weave.tif")

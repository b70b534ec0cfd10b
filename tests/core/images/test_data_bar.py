"""Data bars as electron microscopes write them are found, and nothing else is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from napari_ssim_defects.core.config.region import MarginsRegion
from napari_ssim_defects.core.images.data_bar import data_bar
from napari_ssim_defects.core.images.planes import as_planes


def texture(seed, shape=(220, 300), sigma=1.5):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return np.clip(110 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)


def bar(seed, width=300, height=40, ink=255, paper=0, line=False):
    """A strip of text, a scale bar and, if so wanted, a line above it."""
    strip = Image.new("L", (width, height), paper)
    draw = ImageDraw.Draw(strip)
    draw.text((6, 4), f"HV 10.0 kV  WD {9 + seed} mm  det ETD  {seed}:47:12 PM", fill=ink)
    if height > 25:
        draw.text((6, 22), f"mag {2 + seed} 500 x  HFW 51.{seed} um", fill=ink)
        draw.rectangle((width - 90, height - 10, width - 20, height - 7), fill=ink)
    strip = np.array(strip)
    if line:
        strip[:2] = ink
    return strip


def found(images, **options):
    return data_bar([as_planes(image, **options) for image in images])


@pytest.mark.parametrize("number", [1, 2, 9])
@pytest.mark.parametrize(("ink", "paper"), [(255, 0), (0, 255), (255, 90), (0, 128)])
def test_bar_below_is_found_whatever_its_colours_and_text(number, ink, paper):
    images = [np.vstack([texture(i), bar(i, ink=ink, paper=paper)]) for i in range(number)]
    assert found(images) == MarginsRegion(bottom=40)


@pytest.mark.parametrize("height", [16, 25, 60])
@pytest.mark.parametrize("line", [False, True])
def test_bar_of_any_height_with_or_without_a_line(height, line):
    images = [np.vstack([texture(i), bar(i, height=height, line=line)]) for i in range(3)]
    assert found(images) == MarginsRegion(bottom=height)


def test_bar_along_each_border_is_found():
    for side, turns in (("bottom", 0), ("right", 1), ("top", 2), ("left", 3)):
        images = [np.rot90(np.vstack([texture(i), bar(i)]), turns) for i in range(3)]
        assert found(images) == MarginsRegion(**{side: 40})


def test_bar_is_found_in_any_depth_and_in_colour():
    images = [np.vstack([texture(i), bar(i)]) for i in range(3)]
    deep = [image.astype(np.uint16) * 257 for image in images]
    assert found(deep) == MarginsRegion(bottom=40)
    assert found([image / np.float32(255) for image in images]) == MarginsRegion(bottom=40)
    coloured = [np.stack([image] * 3, axis=-1) for image in images]
    assert found(coloured) == MarginsRegion(bottom=40)
    stacks = [np.stack([image] * 2) for image in images]
    assert found(stacks) == MarginsRegion(bottom=40)


@pytest.mark.parametrize("quality", [95, 75])
def test_bar_is_found_in_jpeg(quality):
    images = []
    for seed in range(3):
        stream = io.BytesIO()
        image = np.vstack([texture(seed), bar(seed)])
        Image.fromarray(image).save(stream, "JPEG", quality=quality)
        images.append(np.array(Image.open(stream)))
    region = found(images)
    assert region is not None
    assert 37 <= region.bottom <= 43


@pytest.mark.parametrize("sigma", [0, 1, 3, 8, 20])
def test_texture_alone_has_no_bar(sigma):
    assert found([texture(i, sigma=sigma) for i in range(4)]) is None


@pytest.mark.parametrize("shape", [(36, 40), (144, 160)])
def test_rows_between_the_threads_of_a_weave_are_no_bar(shape):
    """One image is enough: flat rows alternate with others, whose threads stand out like text."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[: shape[0], : shape[1]] + rng.uniform(0, 12, 2)[:, None, None]
        weave = np.sin(np.pi * x / 6) * np.sin(np.pi * y / 6)
        noise = ndimage.uniform_filter(rng.normal(size=shape), 2)
        image = np.clip(115 + 46 * weave + 15 * noise, 0, 255).astype(np.uint8)
        assert found([image]) is None


def test_what_is_like_a_bar_in_some_images_only_is_none():
    images = [np.vstack([texture(i), bar(i)]) for i in range(3)]
    assert found([*images, texture(9, (260, 300))]) is None
    taller = np.vstack([texture(4, (200, 300)), bar(4, height=60)])
    assert found([*images, taller]) is None
    assert found([*images, np.vstack([texture(5), bar(5, ink=0, paper=255)])]) is None


def test_flat_parts_without_text_and_images_that_are_flat_have_none():
    black = np.zeros((40, 300), np.uint8)
    assert found([np.vstack([texture(i), black]) for i in range(3)]) is None
    assert found([np.zeros((200, 300), np.uint8)] * 3) is None
    sparse = np.zeros((220, 300), np.uint8)
    sparse[20:60, 30:90] = sparse[150:200, 200:250] = 200
    assert found([sparse, sparse]) is None
    assert found([texture(1, (6, 7))]) is None
    stripes = np.tile(np.uint8([30] * 20 + [200] * 20), (220, 8))[:, :300]
    assert found([stripes, stripes.T.copy()]) is None


def test_half_of_an_image_is_no_bar():
    images = [np.vstack([texture(i, (100, 300)), bar(i, height=120)]) for i in range(3)]
    assert found(images) is None

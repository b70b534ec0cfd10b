"""Regions of interest as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.common.frozen_model import FrozenModel
from napari_ssim_defects.core.config.region import (
    BoxRegion,
    MarginsRegion,
    MaskRegion,
    RegionOfInterest,
    parse_region,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bottom:60", MarginsRegion(bottom=60)),
        ("top:20,bottom:60", MarginsRegion(top=20, bottom=60)),
        (" left:3, right:4 ", MarginsRegion(left=3, right=4)),
        ("0:960,0:1280", BoxRegion(rows=(0, 960), columns=(0, 1280))),
        ("particles.png", MaskRegion(path=Path("particles.png"))),
        ("C:/masks/roi.tif", MaskRegion(path=Path("C:/masks/roi.tif"))),
    ],
)
def test_region_is_read_as_people_write_it(text, expected):
    assert parse_region(text) == expected
    assert parse_region(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "bottom:-3", "bottom:", "bottom:6.5", "top:1,top:2", "top:1,roi.png", "bad\0"]
)
def test_what_is_no_region_is_refused_with_what_is(text):
    with pytest.raises(InputError, match="bottom:60"):
        parse_region(text)


def test_box_that_holds_no_pixel_is_refused():
    with pytest.raises(InputError, match="rows 9:9"):
        parse_region("9:9,0:4")


def test_setting_takes_the_text_and_writes_it():
    class Settings(FrozenModel):
        roi: RegionOfInterest | None = None

    settings = Settings(roi="bottom:60")
    assert settings.roi == MarginsRegion(bottom=60)
    assert settings.model_dump(mode="json") == {"roi": "bottom:60"}
    assert Settings.model_validate({"roi": "bottom:60"}, strict=True) == settings
    assert Settings(roi=settings.roi) == settings

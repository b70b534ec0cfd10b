"""The report: one page that needs no other file, with the worst images first."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.images.planes import as_planes
from napari_ssim_defects.core.segmentation.regions import measure_planes
from napari_ssim_defects.io.writers.overlay import DEFECT_COLOUR
from napari_ssim_defects.io.writers.report import ReportEntry, thumbnail, write_report


def _entry(name: str, fraction: float) -> ReportEntry:
    return ReportEntry(name, int(1000 * fraction), fraction, base64.b64encode(b"jpeg").decode())


class _Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.images: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "img":
            self.images.append(str(named["alt"]))
        self.sources += [str(named[name]) for name in ("src", "href") if name in named]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_worst_images_come_first_and_good_ones_are_only_listed(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    entries = [_entry(f"{number}.png", number / 1000) for number in range(40)]
    write_report(path, iter(entries), [("bad.png", "It is damaged.")], 0.5)
    page = _Page(path)
    assert page.images == [f"{number}.png" for number in range(39, 15, -1)]
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert "40 images inspected at threshold 0.5: 780 regions in 39 images" in page.text
    assert "1 image could not be used" in page.text
    assert "It is damaged." in page.text
    assert all(entry.name in page.text for entry in entries)


def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    name = '<script>alert("x")</script>.png'
    write_report(path, [_entry(name, 0.1)], [(name, "<b>")], 0.5)
    page = _Page(path)
    assert page.images == [name]
    assert "<script" not in path.read_text("utf-8")
    assert "<b>" in page.text


def test_nothing_inspected_is_a_page_too(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", [], [], 0.5)
    assert "0 images inspected" in _Page(tmp_path / "report.html").text


def test_a_report_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        write_report(tmp_path / "nowhere" / "report.html", [], [], 0.5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_thumbnail_shows_the_worst_plane_with_its_regions(dtype: type) -> None:
    labels = np.zeros((3, 1000, 700), np.int32)
    labels[0, 5:7, 5:7], labels[1, 100:104, 200:300] = 1, 2
    image = np.random.default_rng(0).integers(90, 110, labels.shape).astype(dtype)
    regions = [
        (plane, region)
        for plane, found in measure_planes(labels, labels.astype(np.float32))
        for region in found
    ]
    picture = Image.open(io.BytesIO(base64.b64decode(thumbnail(as_planes(image), labels, regions))))
    assert picture.format == "JPEG"
    assert picture.size == (175, 250)  # every fourth pixel
    pixels = np.asarray(picture).astype(int)
    cyan = np.abs(pixels - DEFECT_COLOUR).max(axis=2) < 60
    rows, columns = np.nonzero(cyan)
    assert 20 <= rows.min() <= rows.max() <= 30
    assert 45 <= columns.min() <= columns.max() <= 80


def test_it_opens_with_the_model_and_what_is_known_of_it(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    notes = ("Trained on 'a.png' on 2024-05-06.", "Reliable: it finds painted defects.")
    write_report(path, [], [], 0.5, "fibres <3>", notes)
    text = _Page(path).text
    places = [text.index(each) for each in ("Model: fibres <3>", *notes, "0 images inspected")]
    assert places == sorted(places)

"""The HTML report of a detection: how much was found, and the worst images."""

from __future__ import annotations

import base64
import html
import io
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ...core.common.errors import counted
from ...core.images.planes import ImageLike, Planes
from ...core.segmentation.regions import Region
from ..files.atomic import atomic_path
from .overlay import outlined, reduced

__all__ = ["REPORT_NAME", "ReportEntry", "thumbnail", "write_report"]

REPORT_NAME = "report.html"
"""The report of all images."""

_SIDE = 320  # pixels of a thumbnail
_SHOWN = 24  # thumbnails

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.worst { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
figure { margin: 0; } img { width: 100%; height: 15rem; object-fit: contain; background: #8882; }
figcaption, td, th { overflow-wrap: anywhere; } figcaption span { color: GrayText; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; }
td, th { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #8884; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True, slots=True)
class ReportEntry:
    """One inspected image.

    Attributes
    ----------
    name
        What the table of regions calls it.
    regions
        Number of its regions.
    defective_fraction
        Fraction of its pixels that lie in regions.
    thumbnail
        Its picture, as `thumbnail` makes it.
    """

    name: str
    regions: int
    defective_fraction: float
    thumbnail: str


def thumbnail(planes: Planes, labels: ImageLike, regions: Sequence[tuple[int, Region]]) -> str:
    """Draw a small picture of an image with its regions outlined; of a stack the worst plane.

    Returns
    -------
    str
        JPEG in base64.
    """
    areas: Counter[int] = Counter()
    for plane, region in regions:
        areas[plane] += region.area
    worst = max(range(len(planes)), key=lambda plane: areas[plane])
    pixels, found = reduced(planes, worst, labels, _SIDE)
    low, high = 0.0, 255.0
    if planes.dtype != np.uint8:
        low, high = (float(value) for value in np.percentile(pixels, (0.1, 99.9)))
    review = np.array([region.label for _, region in regions if region.review], int)
    file = io.BytesIO()
    picture = outlined(pixels, found, (low, high), review)
    Image.fromarray(picture).save(file, format="JPEG", quality=80, subsampling=0)
    return base64.b64encode(file.getvalue()).decode()


def write_report(
    path: str | os.PathLike[str],
    entries: Iterable[ReportEntry],
    failures: Sequence[tuple[str, str]],
    threshold: float,
    model: str = "",
    notes: Sequence[str] = (),
) -> None:
    """Write the report as one HTML file that needs no others, whole or not at all.

    Parameters
    ----------
    path
        The file.
    entries
        The images, in their order.
    failures
        Name of each image that could not be used, and why.
    threshold
        Residual above which pixels were candidates.
    model
        What the report calls the model.
    notes
        Sentences about it that come first: what it was trained on, and the verdict on it.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    shown: list[ReportEntry] = []
    rows, regions, count, defective = [], 0, 0, 0
    for entry in entries:
        count += 1
        regions += entry.regions
        defective += entry.regions > 0
        rows.append(_row(entry.name, entry.regions, entry.defective_fraction))
        if entry.regions:
            # Only the worst ones stay: there may be any number of images.
            shown = sorted([*shown, entry], key=_badness)[:_SHOWN]
    name = html.escape(model)
    page = [
        "<!doctype html>", '<html lang="en">', '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        "<title>Detection report</title>", f"<style>{_STYLE}</style>",
        "<h1>Detection report</h1>",
        *([f"<p>Model: <strong>{name}</strong></p>"] if name else []),
        *(f"<p>{html.escape(note)}</p>" for note in notes),
        f"<p>{counted(count, 'image')} inspected at threshold "
        f"{threshold:.4g}: {counted(regions, 'region')} in {counted(defective, 'image')}; "
        f"{counted(len(failures), 'image')} could not be used.</p>",
    ]  # fmt: skip
    if failures:
        page += ["<h2>Could not be used</h2>", "<table><tr><th>Image<th>Why</tr>"]
        page += [f"<tr><td>{html.escape(file)}<td>{html.escape(why)}</tr>"
                 for file, why in failures]  # fmt: skip
        page.append("</table>")
    if shown:
        page += ["<h2>The worst images</h2>", '<div class="worst">']
        page += [_figure(entry) for entry in shown]
        page.append("</div>")
    page += [
        "<h2>All images</h2>",
        '<table><tr><th>Image<th class="number">Regions<th class="number">Area</tr>',
        *rows, "</table>", "</html>", "",
    ]  # fmt: skip
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(page), encoding="utf-8", errors="backslashreplace")


def _badness(entry: ReportEntry) -> tuple[float, int]:
    return -entry.defective_fraction, -entry.regions


def _row(name: str, regions: int, fraction: float) -> str:
    return (
        f'<tr><td>{html.escape(name)}<td class="number">{regions}'
        f'<td class="number">{_percent(fraction)}</tr>'
    )


def _figure(entry: ReportEntry) -> str:
    name = html.escape(entry.name, quote=True)
    return (
        f'<figure><img alt="{name}" src="data:image/jpeg;base64,{html.escape(entry.thumbnail)}">'
        f"<figcaption>{name}<br><span>{counted(entry.regions, 'region')}, "
        f"{_percent(entry.defective_fraction)} of the area</span></figcaption></figure>"
    )


def _percent(fraction: float) -> str:
    digits = 2 if fraction == 0 or fraction >= 1e-4 else math.ceil(-math.log10(100 * fraction)) + 1
    return f"{100 * fraction:.{digits}f} %"

"""Pixel sizes that a TIFF file states, in OME-XML and in the ways of many makers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree

import tifffile

from ...core.common.array_checks import short_text
from ...core.common.errors import InputError
from ..files.spatial import converted, unit_symbol

__all__ = [
    "Distances",
    "ome_distances",
    "refuse_hostile_ome",
    "tiff_distances",
]

_MOST_PLANES = 2**22  # a list of the planes is made before the first of them is looked for
_DEFAULT_UNITS = {"X": "µm", "Y": "µm", "Z": "µm", "T": "s"}

Distances: TypeAlias = dict[str, tuple[float, str]]
"""Distance between neighbours and its unit, for each axis where both are known."""

_UNITS = {2: "in", 3: "cm"}  # TIFF's ResolutionUnit
# Dots per inch that programs and cameras write without having measured anything.
_SCREEN_AND_PRINT = (72, 96, 100, 120, 144, 150, 180, 200, 240, 300, 350, 600)


def ome_distances(xml: str, image: int = 0) -> dict[str, tuple[float, object]]:
    """Return distance and unit along each axis that the description gives an image of the file."""
    described = ElementTree.fromstring(xml).findall(".//{*}Pixels")
    found: dict[str, tuple[float, object]] = {}
    if not described:
        return found
    pixels = described[image if image < len(described) else 0]
    for letter, default in _DEFAULT_UNITS.items():
        key = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
        if key in pixels.attrib:
            found[letter] = float(pixels.attrib[key]), pixels.attrib.get(f"{key}Unit", default)
    return found


def refuse_hostile_ome(file: Path, xml: str) -> None:
    """Refuse a description before it is followed.

    Planes may lie in other files, which must be ordinary files beside this one: no folder up, no
    other computer, no device.

    Raises
    ------
    InputError
        If it declares more planes than there can be, or refers to what is no file beside this one.
    """
    root = ElementTree.fromstring(xml)
    planes = 0
    for pixels in root.iterfind(".//{*}Pixels"):
        sizes = (int(pixels.attrib.get(f"Size{letter}", 1)) for letter in "TZC")
        planes += math.prod(max(1, size) for size in sizes)
    if planes > _MOST_PLANES:
        raise InputError(
            f"'{file}' is damaged: it declares more than {_MOST_PLANES:,} planes; restore or "
            "export it again."
        )
    for reference in root.iterfind(".//{*}TiffData/{*}UUID"):
        name = reference.attrib.get("FileName", "")
        beside = file.parent / name
        if {*name} & {*"/\\:\0"} or (beside.exists() and not beside.is_file()):
            raise InputError(
                f"'{file}' says that some of its planes are in {short_text(name)}, which is not a "
                "file in the same folder; export it again as one file."
            )


def tiff_distances(tif: tifffile.TiffFile, page: tifffile.TiffPage, image: int) -> Distances:
    """Return distances that the file gives, if they are sensible.

    OME comes first, then the tags of microscopes (Thermo Fisher and FEI, Zeiss, Olympus,
    MetaMorph), then ImageJ, then the resolution of the page, but for that of screens and printers.

    Parameters
    ----------
    tif
        The file.
    page
        First page of the image.
    image
        Number of the image in the file.
    """
    if tif.ome_metadata:
        found = ome_distances(tif.ome_metadata, image)
    else:
        found = _microscope_distances(tif) or _resolution_distances(page, tif.imagej_metadata or {})
    sensible = {}
    for letter, (size, unit) in found.items():
        symbol = unit_symbol(unit)
        if symbol is not None and _is_size(size):
            sensible[letter] = float(size), symbol
    return sensible


def _is_size(size: object) -> bool:
    return isinstance(size, int | float) and math.isfinite(size) and size > 0


def _microscope_distances(tif: tifffile.TiffFile) -> dict[str, tuple[Any, object]]:
    """Read the pixel sizes of microscopes; their resolution is often that of a screen."""
    fei = tif.fei_metadata or {}
    for section in fei.values():
        if isinstance(section, dict) and "PixelWidth" in section:
            width = section["PixelWidth"]
            height = section.get("PixelHeight", width)
            return {"X": _from_metres(width, "nm"), "Y": _from_metres(height, "nm")}
    zeiss = tif.sem_metadata or {}
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        if len(zeiss.get(key, ())) == 3:
            return dict.fromkeys("XY", zeiss[key][1:])
    if len(zeiss.get("", ())) > 3:  # values without names, of which the fourth is the size
        return dict.fromkeys("XY", _from_metres(zeiss[""][3], "nm"))
    olympus = tif.sis_metadata or {}
    if "pixelsizex" in olympus:
        return {
            letter: _from_metres(olympus.get(f"pixelsize{letter.lower()}"), "µm") for letter in "XY"
        }
    lsm = tif.lsm_metadata or {}
    if "VoxelSizeX" in lsm:
        return {letter: _from_metres(lsm.get(f"VoxelSize{letter}"), "µm") for letter in "XYZ"}
    metamorph = tif.stk_metadata or {}
    if "XCalibration" in metamorph:
        unit = metamorph.get("CalibrationUnits")
        return {letter: (metamorph.get(f"{letter}Calibration"), unit) for letter in "XY"}
    return {}


def _from_metres(size: Any, unit: str) -> tuple[Any, str]:
    return (converted(size, "m", unit) if _is_size(size) else None), unit


def _resolution_distances(
    page: tifffile.TiffPage, imagej: dict[str, Any]
) -> dict[str, tuple[Any, object]]:
    """Read the resolution, in pixels per unit; ImageJ has units and axes of its own."""
    found: dict[str, tuple[Any, object]] = {}
    unit = _UNITS.get(page.tags.valueof("ResolutionUnit", 2))
    for letter, tag in (("X", "XResolution"), ("Y", "YResolution")):
        numerator, denominator = page.tags.valueof(tag, (0, 0))
        if numerator == 0:
            continue
        size = denominator / numerator
        if imagej:
            # Units of other axes are named where they differ from that of x.
            found[letter] = size, imagej.get(f"{letter.lower()}unit", imagej.get("unit"))
        else:
            found[letter] = size, unit
    if found and all(_is_of_screen_or_print(*distance) for distance in found.values()):
        found = {}
    if not imagej:  # nobody measures in inches
        found = {
            letter: (converted(size, unit, "µm"), "µm")
            for letter, (size, _) in found.items()
            if unit
        }
    if "spacing" in imagej:
        found["Z"] = abs(float(imagej["spacing"])), imagej.get("zunit", imagej.get("unit"))
    if "finterval" in imagej:
        found["T"] = float(imagej["finterval"]), imagej.get("tunit", "s")
    return found


def _is_of_screen_or_print(size: float, unit: object) -> bool:
    """Whether a size is that of a usual resolution; ImageJ keeps those of others in their unit."""
    symbol = unit_symbol(unit)
    if symbol is None or symbol not in _UNITS.values():
        return False
    if size == 1:  # one inch or centimetre means an unknown size
        return True
    inches = converted(size, symbol, "in")
    return inches is not None and any(
        math.isclose(inches * dots, 1.0, rel_tol=0.005) for dots in _SCREEN_AND_PRINT
    )

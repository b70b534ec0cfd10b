"""What OME-XML says about the pixels of a TIFF file, and what it must not say."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

from ...core.common.array_checks import shown
from ...core.common.errors import InputError

__all__ = ["ome_distances", "refuse_hostile_ome"]

_MOST_PLANES = 2**22  # a list of the planes is made before the first of them is looked for
_DEFAULT_UNITS = {"X": "µm", "Y": "µm", "Z": "µm", "T": "s"}


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
                f"'{file}' says that some of its planes are in {shown(name)}, which is no file "
                "beside it; export it again as one file."
            )

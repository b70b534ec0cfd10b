"""Names of results: each after its image, and all different."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["image_stem", "output_stems", "table_names", "unique_stems"]


def image_stem(path: str | os.PathLike[str]) -> str:
    """Return the name of an image file without folder and ending.

    Examples
    --------
    >>> image_stem("scans/weave.03.ome.tif"), image_stem("weave.03.png")
    ('weave.03', 'weave.03')
    """
    stem = Path(path).stem
    return stem[:-4] if stem.lower().endswith(".ome") and len(stem) > 4 else stem


def output_stems(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return a stem per image for the names of what is written about it; no two are the same.

    Examples
    --------
    >>> output_stems(["a/weave.png", "b/weave.tif", "b/felt.png"])
    ['weave', 'weave-2', 'felt']
    """
    return unique_stems([image_stem(path) for path in paths])


def unique_stems(stems: Sequence[str]) -> list[str]:
    """Tell equal stems apart: the second and later ones get ``-2``, ``-3`` and so on.

    Upper and lower case count as the same, as they do on many disks.
    """
    # A stem that an image has by itself is never given to another one.
    taken = {stem.casefold() for stem in stems}
    used: set[str] = set()
    unique = []
    for stem in stems:
        name, number = stem, 1
        while name.casefold() in (taken if number > 1 else used):
            number += 1
            name = f"{stem}-{number}"
        used.add(name.casefold())
        taken.add(name.casefold())
        unique.append(name)
    return unique


def table_names(paths: Sequence[Path]) -> list[str]:
    """Return what a table calls each image: its file's name, or its path if others have that name.

    Examples
    --------
    >>> table_names([Path("a/weave.png"), Path("a/felt.png")])
    ['weave.png', 'felt.png']
    """
    names = [path.name for path in paths]
    return [path.name if names.count(path.name) == 1 else str(path) for path in paths]

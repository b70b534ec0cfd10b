"""Which image files a person means by files, folders and patterns, and the masks of them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from ..core.errors import InputError
from .file_errors import read_problem
from .naming import image_stem
from .ome_zarr import is_zarr

__all__ = ["SUFFIXES", "find_images", "match_masks"]

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")
"""Endings of the image files that are read, in any case."""

# What `results` names the pictures that detection writes.
_RESULT = re.compile(
    r"\.((residual|labels|mask)(\.ome)?\.(tif|zarr)|overlay(-\d+)?\.png)$", re.IGNORECASE
)
_MASK_ENDINGS = ("", "_mask", "-mask", "_gt", "-gt")


def find_images(inputs: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the image files that are meant by files, folders and patterns.

    Parameters
    ----------
    inputs
        Files and zarr folders; other folders, whose own images are taken in natural order (2 before
        10), without those of folders in them; patterns with ``*``, ``?``, ``[...]`` and ``**``.
        Folders and patterns leave out hidden files and what detection has written.

    Returns
    -------
    list of pathlib.Path
        Each file once, in the order of the inputs; at least one.

    Raises
    ------
    InputError
        If an input does not exist, is no image, or has no images in it.
    """
    found: dict[Path, Path] = {}
    for item in inputs:
        try:
            for path in _expand(_at_home(Path(item))):
                found.setdefault(_resolved(path), path)
        except OSError as error:
            raise read_problem(Path(item), error) from error
    if not found:
        raise InputError("No images were given; name files, folders or patterns.")
    return list(found.values())


def match_masks(
    images: Iterable[str | os.PathLike[str]], mask_folder: str | os.PathLike[str]
) -> list[Path]:
    """Find the mask of each image in a folder.

    A mask has the stem of its image, alone or followed by ``_mask`` or ``_gt`` (or ``-mask``,
    ``-gt``), with any ending.

    Returns
    -------
    list of pathlib.Path
        One mask per image.

    Raises
    ------
    InputError
        If the folder cannot be listed or an image has no mask in it.
    """
    folder = Path(mask_folder)
    paths = [Path(image) for image in images]
    # Images and masks may share a folder; no image is a mask.
    resolved = {_resolved(path) for path in paths}
    masks: dict[str, Path] = {}
    for path in _folder_images(folder):
        if _resolved(path) not in resolved:
            masks.setdefault(image_stem(path).casefold(), path)
    matched = []
    for image in paths:
        stem = image_stem(image)
        names = ((stem + ending).casefold() for ending in _MASK_ENDINGS)
        mask = next((masks[name] for name in names if name in masks), None)
        if mask is None:
            raise InputError(
                f"There is no mask of '{image}' in '{folder}'; add one that is named "
                f"'{stem}', '{stem}_mask' or '{stem}_gt'."
            )
        matched.append(mask)
    return matched


def _expand(path: Path) -> list[Path]:
    """Return the image files that one input means; at least one."""
    if path.is_dir() and not is_zarr(path):
        found = [file for file in _folder_images(path) if not _RESULT.search(file.name)]
        missing = f"There are no images in '{path}'; choose a folder with {_kinds()} files."
    elif path.exists() or not glob.has_magic(str(path)):
        if path.exists() and path.suffix.lower() not in SUFFIXES and not is_zarr(path):
            raise InputError(f"'{path}' is not an image that can be read; use {_kinds()}.")
        found = [path] if path.exists() else []
        missing = f"There is no file or folder '{path}'; check its name."
    else:
        found = [file for file in _images_among(_matches(path)) if not _RESULT.search(file.name)]
        missing = f"No image matches '{path}'; check the pattern."
    if not found:
        raise InputError(missing)
    return found


def _matches(pattern: Path) -> Iterator[Path]:
    """Yield what a pattern matches; ``**`` enters no linked folders, which may lead in circles."""
    first = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    base = Path(*pattern.parts[:first])
    # Within a name two stars mean no more than one; at the end they mean files too.
    parts = [p if p == "**" else re.sub(r"\*+", "*", p) for p in pattern.parts[first:]]
    if parts[-1] == "**":
        parts.append("*")
    # Two in a row mean what one does, and would search everything as often as there are folders.
    parts = [part for part, after in pairwise([*parts, ""]) if (part, after) != ("**", "**")]
    hidden = any(part.startswith(".") for part in parts)
    for path in base.glob("/".join(parts)):
        inside = path.relative_to(base).parts[:-1]
        if hidden or not any(part.startswith(".") for part in inside):
            yield path


def _at_home(path: Path) -> Path:
    """Replace ``~``; a name that no user has stays as it is, and is not found."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def _resolved(path: Path) -> Path:
    """Follow links; a name that leads nowhere, or in circles, stays as it is."""
    try:
        return path.resolve()
    except (RuntimeError, ValueError):
        return path.absolute()


def _folder_images(folder: Path) -> list[Path]:
    try:
        return _images_among(folder.iterdir())
    except OSError as error:
        raise read_problem(folder, error) from error


def _images_among(paths: Iterable[Path]) -> list[Path]:
    """Return those that are image files and not hidden, in natural order."""
    images = [
        path
        for path in paths
        if not path.name.startswith(".")
        and ((path.suffix.lower() in SUFFIXES and path.is_file()) or is_zarr(path))
    ]
    return sorted(images, key=_natural)


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Return a key that sorts numbers in names by value."""
    parts = re.split(r"(\d+)", str(path))
    key = [int(part) if index % 2 else part.casefold() for index, part in enumerate(parts)]
    return key, str(path)


def _kinds() -> str:
    return ", ".join(
        kind.removeprefix(".").upper() for kind in (".tif", ".png", ".jpg", ".bmp", ".zarr")
    )

"""Finds the image files in folders and by patterns, and the masks of images."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from ...core.common.errors import InputError
from ..files.errors import read_problem
from ..files.naming import image_stem
from ..readers.ome_zarr import is_zarr

__all__ = ["SUFFIXES", "find_images", "match_masks", "match_truth", "unread_notice"]

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")
"""Endings of the image files that are read, in any case."""

# Other images, by their usual endings: left out of folders with a word.
_UNREAD = (
    ".avif", ".btf", ".czi", ".dcm", ".dib", ".dm3", ".dm4", ".emd", ".gif", ".heic", ".heif",
    ".ims", ".j2k", ".jfif", ".jp2", ".jpe", ".jxl", ".jxr", ".lif", ".lsm", ".mpo", ".mrc",
    ".mrxs", ".nd2", ".ndpi", ".oib", ".oif", ".oir", ".pgm", ".pnm", ".ppm", ".scn", ".ser",
    ".stk", ".svs", ".tf8", ".tga", ".vsi", ".webp",
)  # fmt: skip

# What `results` names the pictures that detection writes.
_RESULT = re.compile(
    r"\.((residual|labels|mask)(\.ome)?\.(tif|zarr)|overlay(-\d+)?\.png)$", re.IGNORECASE
)
_ADVICE = (
    "save it as TIFF or PNG (a microscope's format as OME-TIFF, with Fiji or bfconvert), or open "
    "it in napari with a reader for its format"
)
_MASK_ENDINGS = ("", "_mask", "-mask", "_gt", "-gt", "_label", "-label")
_GOOD = ("good", "ok", "normal")  # folders of images without defects


def find_images(
    inputs: Iterable[str | os.PathLike[str]],
    *,
    nested: bool = False,
    besides: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """List the image files that files, folders and patterns match.

    Parameters
    ----------
    inputs
        Files and zarr folders; other folders, whose own images are taken in natural order (2 before
        10), without those of folders in them; patterns with ``*``, ``?``, ``[...]`` and ``**``.
        Folders and patterns leave out hidden files and what detection has written.
    nested
        Whether images of folders in folders are taken, too.
    besides
        The folder of the masks: it is not searched when it lies in another one, and masks beside
        their images in it (``1_mask.png`` beside ``1.png``) are left out.

    Returns
    -------
    list of pathlib.Path
        Each file once, in the order of the inputs; at least one.

    Raises
    ------
    InputError
        If an input does not exist, is not an image, or has no images in it.
    """
    found: dict[Path, Path] = {}
    avoided = None if besides is None else _resolved(Path(besides))
    for item in inputs:
        path = _at_home(Path(item))
        try:
            for file in _nested(path, avoided) if nested and _is_folder(path) else _expand(path):
                found.setdefault(_resolved(file), file)
        except OSError as error:
            raise read_problem(Path(item), error) from error
    if not found:
        raise InputError("No images were given; name files, folders or patterns.")
    files = list(found.values())
    return files if avoided is None else _without_masks(files, avoided)


def unread_notice(inputs: Iterable[str | os.PathLike[str]], *, nested: bool = False) -> str | None:
    """Say that folders and patterns mean images of formats that are not read; None if they do not.

    Parameters
    ----------
    inputs, nested
        As for `find_images`, which leaves them out.
    """
    unread: list[Path] = []
    for path in map(_at_home, map(Path, inputs)):
        if _is_folder(path):
            for place, _, names in os.walk(path):
                unread += filter(_is_unread, (Path(place, name) for name in names))
                if not nested:
                    break
        elif not path.exists():
            unread += filter(_is_unread, _matches(path))
    if not unread:
        return None
    first = min(unread, key=_natural)
    count = f" and {len(unread) - 1} more are" if len(unread) > 1 else " is"
    return f"'{first}'{count} left out: {_ADVICE}."


def match_masks(
    images: Iterable[str | os.PathLike[str]], mask_folder: str | os.PathLike[str]
) -> list[Path]:
    """Find the mask of each image in a folder.

    A mask has the stem of its image, alone or followed by ``_mask``, ``_gt`` or ``_label`` (or
    ``-mask``, ``-gt``, ``-label``), with any ending. If the folder has folders inside that are
    called as those of the image are (``ground_truth/hole`` for ``test/hole``), its mask is looked
    for there.

    Returns
    -------
    list of pathlib.Path
        One mask per image.

    Raises
    ------
    InputError
        If the folder cannot be listed, an image has no mask or several in it, or several images
        have the same.
    """
    paths = [Path(image) for image in images]
    masks = _masks_of(paths, Path(mask_folder))
    for image, mask in zip(paths, masks, strict=True):
        if mask is None:
            raise _no_mask(image, mask_folder)
    return [mask for mask in masks if mask is not None]


def match_truth(
    images: Iterable[str | os.PathLike[str]], mask_folder: str | os.PathLike[str]
) -> list[Path | None]:
    """Find the masks of images that are scored, as `match_masks` does.

    Images in a folder ``good``, ``ok`` or ``normal`` are without defects where they have no mask.

    Returns
    -------
    list of pathlib.Path or None
        For each image its mask; None if it is without defects.

    Raises
    ------
    InputError
        As for `match_masks`.
    """
    paths = [Path(image) for image in images]
    masks = _masks_of(paths, Path(mask_folder))
    for image, mask in zip(paths, masks, strict=True):
        if mask is None and not _is_good(image.parent):
            raise _no_mask(image, mask_folder, "; images without defects go into a folder 'good'")
    return masks


def _without_masks(files: list[Path], folder: Path) -> list[Path]:
    """Leave out the masks of other files that lie beside them, in a folder or one inside it."""
    stems = {(file.parent, image_stem(file).casefold()) for file in files}

    def is_mask(file: Path) -> bool:
        stem = image_stem(file).casefold()
        bare = (stem.removesuffix(ending) for ending in _MASK_ENDINGS if stem.endswith(ending))
        return folder in _resolved(file).parents and any(
            (file.parent, name) in stems for name in bare if name != stem
        )

    return [file for file in files if not is_mask(file)]


def _masks_of(images: list[Path], folder: Path) -> list[Path | None]:
    """Return a mask for each image that has one, and refuse masks of several."""
    # Images and masks may share a folder; no image is a mask.
    resolved = {_resolved(path) for path in images}
    homes = {image.parent for image in images}
    named: dict[Path, dict[str, list[Path]]] = {}
    for home in homes:
        named[home] = {}
        place = _mask_folder(home, folder, homes)
        for path in [] if place is None else _folder_images(place):
            if _resolved(path) not in resolved:
                named[home].setdefault(image_stem(path).casefold(), []).append(path)
    stems = {(image.parent, image_stem(image).casefold()) for image in images}
    owners: dict[Path, Path] = {}
    masks = []
    for image in images:
        stem, there = image_stem(image).casefold(), named[image.parent]
        names = [stem + ending for ending in _MASK_ENDINGS]
        # What is called as another image is the mask of that one.
        names = [name for name in names if name == stem or (image.parent, name) not in stems]
        found = [mask for name in names for mask in there.get(name, ())]
        if len(found) > 1:
            raise InputError(
                f"'{found[0]}' and '{found[1]}' may both be the mask of '{image}'; remove one of "
                "them."
            )
        mask = found[0] if found else None
        masks.append(mask)
        if mask is not None and owners.setdefault(mask, image) != image:
            raise InputError(
                f"Mask '{mask}' matches two images, '{owners[mask]}' and '{image}'; give the "
                "folders of masks the same names as those of the images."
            )
    return masks


def _mask_folder(home: Path, folder: Path, homes: set[Path]) -> Path | None:
    """Return the folder with the masks of a folder's images; None if all masks are of others."""
    parts = home.absolute().parts[1:]
    for first in range(len(parts)):
        inside = folder.joinpath(*parts[first:])
        if _is_folder(inside):
            return inside
    other = home.parent / folder.absolute().name  # test/hole, where ground_truth/hole was given
    is_of_others = other != home and (other in homes or (_is_good(home) and _is_folder(other)))
    return None if is_of_others and _resolved(other) != _resolved(folder) else folder


def _is_good(home: Path) -> bool:
    return home.absolute().name.casefold() in _GOOD


def _no_mask(image: Path, folder: str | os.PathLike[str], advice: str = "") -> InputError:
    stem = image_stem(image)
    return InputError(
        f"There is no mask of '{image}' in '{folder}'; add one that is named "
        f"'{stem}', '{stem}_mask' or '{stem}_gt'{advice}."
    )


def _is_folder(path: Path) -> bool:
    """Whether it is a folder of files; zarr is none, nor is what cannot be named."""
    try:
        return path.is_dir() and not is_zarr(path)
    except (OSError, ValueError):
        return False


def _nested(folder: Path, avoided: Path | None) -> list[Path]:
    """Return the images of a folder and of all folders in it; at least one."""
    found, folders = [], [folder]
    while folders:
        here = folders.pop(0)
        found += [file for file in _folder_images(here) if not _RESULT.search(file.name)]
        inside = [
            path
            for path in here.iterdir()
            if _is_folder(path)
            and not path.is_symlink()  # it may lead in circles
            and not path.name.startswith(".")
            and _resolved(path) != avoided
        ]
        folders = sorted(inside, key=_natural) + folders
    if not found:
        raise InputError(
            unread_notice([folder], nested=True)
            or f"There are no images in '{folder}' and its subfolders; choose a folder with "
            f"{_kinds()} files."
        )
    return found


def _expand(path: Path) -> list[Path]:
    """Return the image files that one input means; at least one."""
    if _is_folder(path):
        found = [file for file in _folder_images(path) if not _RESULT.search(file.name)]
        missing = f"There are no images in '{path}'; choose a folder with {_kinds()} files."
    elif path.exists() or not glob.has_magic(str(path)):
        if path.exists() and path.suffix.lower() not in SUFFIXES and not is_zarr(path):
            raise InputError(f"'{path}' is not an image that can be read ({_kinds()}); {_ADVICE}.")
        found = [path] if path.exists() else []
        missing = f"There is no file or folder '{path}'; check its name."
    else:
        found = [file for file in _images_among(_matches(path)) if not _RESULT.search(file.name)]
        missing = f"No image matches '{path}'; check the pattern."
    if not found:
        raise InputError(unread_notice([path]) or missing)
    return found


def _matches(pattern: Path) -> Iterator[Path]:
    """Yield what a pattern matches; ``**`` enters no linked folders, which may lead in circles."""
    base, parts = Path(), [*pattern.parts]
    # A folder may be called like a pattern.
    while parts and (not glob.has_magic(parts[0]) or (base / parts[0]).exists()):
        base /= parts.pop(0)
    if not parts:
        return
    # Within a name two stars mean no more than one; at the end they mean files too.
    parts = [p if p == "**" else re.sub(r"\*+", "*", p) for p in parts]
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


def _is_unread(path: Path) -> bool:
    return path.suffix.lower() in _UNREAD


def _kinds() -> str:
    return ", ".join(
        kind.removeprefix(".").upper() for kind in (".tif", ".png", ".jpg", ".bmp", ".zarr")
    )

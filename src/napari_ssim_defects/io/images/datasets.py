"""Folders of published data sets: which images are good, which are tested, and their masks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...core.common.errors import InputError
from ..files.errors import read_problem
from .image_file import find_images, match_masks

__all__ = ["Dataset", "find_dataset"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """The files of a data set.

    Attributes
    ----------
    layout
        ``"nanotwice"``, ``"mvtec"`` or ``"plain"``.
    good
        Defect-free images to train on.
    validation
        Defect-free images to choose a threshold with; may be empty.
    test
        Images to test on.
    masks
        Their masks, in the same order; None for an image without defects.
    """

    layout: str
    good: tuple[Path, ...]
    validation: tuple[Path, ...]
    test: tuple[Path, ...]
    masks: tuple[Path | None, ...]


def find_dataset(folder: str | os.PathLike[str]) -> Dataset:
    """Recognise a data set by its folders.

    ============= ==================== ======================= =============================
    layout        good                 test                    masks
    ============= ==================== ======================= =============================
    ``nanotwice`` ``Normal``           ``Anomalous/images``    ``Anomalous/gt``, ``_gt``
    ``mvtec``     ``train/good``       ``test/KIND``           ``ground_truth/KIND``, ``_mask``
    ``plain``     ``train_good``       ``test``                ``mask``
    ============= ==================== ======================= =============================

    Of NanoTWICE, the last good image is for validation, as in the paper's section 4.1. Images of
    MVTec AD in ``test/good`` have no masks.

    Parameters
    ----------
    folder
        The folder that the data set was unpacked to; of MVTec AD, that of one category.

    Raises
    ------
    InputError
        If it has none of the layouts, or images or masks are missing.
    """
    root = Path(folder).expanduser()
    try:
        names = {path.name for path in root.iterdir() if path.is_dir()}
    except OSError as error:
        raise read_problem(root, error) from error
    if {"Normal", "Anomalous"} <= names:
        good = find_images([root / "Normal"])
        test = find_images([root / "Anomalous" / "images"])
        masks = match_masks(test, root / "Anomalous" / "gt")
        held_out = good[-1:] if len(good) > 1 else []
        trained = good[:-1] if held_out else good
        return Dataset("nanotwice", tuple(trained), tuple(held_out), tuple(test), tuple(masks))
    if {"train", "test", "ground_truth"} <= names:
        return _mvtec(root)
    if {"train_good", "test", "mask"} <= names:
        test = find_images([root / "test"])
        good = find_images([root / "train_good"])
        masks = match_masks(test, root / "mask")
        return Dataset("plain", tuple(good), (), tuple(test), tuple(masks))
    raise InputError(
        f"'{root}' is not a known data set; it needs the folders Normal and Anomalous (NanoTWICE), "
        "train, test and ground_truth (MVTec AD), or train_good, test and mask."
    )


def _mvtec(root: Path) -> Dataset:
    test: list[Path] = []
    masks: list[Path | None] = []
    for kind in sorted(path for path in (root / "test").iterdir() if path.is_dir()):
        images = find_images([kind])
        test += images
        if kind.name == "good":
            masks += [None] * len(images)
        else:
            masks += match_masks(images, root / "ground_truth" / kind.name)
    if not test:
        raise InputError(f"There are no images in '{root / 'test'}'; unpack the data set again.")
    return Dataset(
        "mvtec", tuple(find_images([root / "train" / "good"])), (), tuple(test), tuple(masks)
    )

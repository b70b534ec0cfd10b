"""Masks are found for images in folders inside, and no mask is taken for two of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.images.image_file import (
    find_images,
    match_masks,
    match_truth,
    unread_notice,
)

MVTEC = (
    "test/good/000.png",
    "test/hole/000.png",
    "test/hole/010.png",
    "test/scratch/000.png",
    "ground_truth/hole/000_mask.png",
    "ground_truth/hole/010_mask.png",
    "ground_truth/scratch/000_mask.png",
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fill(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def pairs(test: str, masks: str) -> dict[str, str | None]:
    images = find_images([test], nested=True, besides=masks)
    matched = match_truth(images, masks)
    return {
        image.as_posix(): mask and mask.as_posix()
        for image, mask in zip(images, matched, strict=True)
    }


EXPECTED = {
    "test/good/000.png": None,
    "test/hole/000.png": "ground_truth/hole/000_mask.png",
    "test/hole/010.png": "ground_truth/hole/010_mask.png",
    "test/scratch/000.png": "ground_truth/scratch/000_mask.png",
}


@pytest.mark.parametrize("test", ["test", "test/*/*.png", "test/**/*.png", "./test"])
@pytest.mark.parametrize("masks", ["ground_truth", "ground_truth/"])
def test_folders_inside_are_matched_by_their_names(test: str, masks: str) -> None:
    fill(*MVTEC)
    assert pairs(test, masks) == EXPECTED


def test_one_kind_of_defects_may_be_scored(tmp_path: Path) -> None:
    fill(*MVTEC)
    expected = {name: mask for name, mask in EXPECTED.items() if "hole" in name}
    assert pairs("test/hole", "ground_truth/hole") == expected
    assert pairs("test/hole", "ground_truth") == expected
    assert pairs("test/hole/*.png", "ground_truth") == expected
    assert pairs("test/good", "ground_truth") == {"test/good/000.png": None}


def test_masks_of_one_kind_are_not_taken_for_another() -> None:
    fill(*MVTEC)
    with pytest.raises(InputError, match=r"no mask of 'test/scratch/000\.png'.*folder 'good'"):
        pairs("test", "ground_truth/hole")
    assert pairs("test/good/*.png", "ground_truth/hole") == {"test/good/000.png": None}


def test_deeper_folders_are_matched_too() -> None:
    fill("t/a/x/1.png", "t/a/y/1.png", "t/b/x/1.png")
    fill("m/a/x/1.png", "m/a/y/1_gt.png", "m/b/x/1.tif")
    assert pairs("t", "m") == {
        "t/a/x/1.png": "m/a/x/1.png",
        "t/a/y/1.png": "m/a/y/1_gt.png",
        "t/b/x/1.png": "m/b/x/1.tif",
    }


def test_no_mask_serves_two_images() -> None:
    fill("test/a/1.png", "test/b/1.png", "masks/1.png")
    with pytest.raises(InputError, match=r"'masks/1\.png' matches two images, 'test/a/1\.png'"):
        pairs("test", "masks")
    images = find_images(["test/a", "test/b"])
    with pytest.raises(InputError, match="matches two images"):
        match_masks(images, "masks")
    fill("flat/1.png", "flat/1.tif")
    with pytest.raises(InputError, match="matches two images"):
        match_masks(find_images(["flat"]), "masks")


def test_masks_in_one_folder_may_serve_images_of_several() -> None:
    fill("test/a/1.png", "test/b/2.png", "masks/1.png", "masks/2.png")
    assert pairs("test", "masks") == {
        "test/a/1.png": "masks/1.png",
        "test/b/2.png": "masks/2.png",
    }


@pytest.mark.parametrize("name", ["good", "OK", "normal"])
def test_good_images_need_no_mask(name: str) -> None:
    fill(f"test/{name}/1.png", "test/bad/1.png", "truth/bad/1.png")
    assert pairs("test", "truth")[f"test/{name}/1.png"] is None


def test_a_mask_of_a_good_image_is_taken() -> None:
    fill("test/good/1.png", "test/bad/1.png", "truth/bad/1.png", "truth/good/1.png")
    assert pairs("test", "truth")["test/good/1.png"] == "truth/good/1.png"


def test_image_that_is_not_among_the_good_needs_a_mask() -> None:
    fill("test/good/1.png", "test/bad/1.png", "test/bad/2.png", "truth/bad/1.png")
    with pytest.raises(InputError, match=r"no mask of 'test/bad/2\.png' in 'truth'"):
        pairs("test", "truth")
    fill("flat/1.png", "masks/2.png")
    with pytest.raises(InputError, match=r"no mask of 'flat/1\.png' in 'masks'"):
        pairs("flat", "masks")


def test_training_images_need_their_masks_whatever_their_folder_is_called() -> None:
    fill("good/1.png", "masks/2.png")
    with pytest.raises(InputError, match=r"no mask of 'good/1\.png'"):
        match_masks(find_images(["good"]), "masks")


def test_masks_inside_are_no_images() -> None:
    fill("test/1.png", "test/masks/1.png", "test/.hidden/2.png", "test/1.labels.ome.tif")
    assert pairs("test", "test/masks") == {"test/1.png": "test/masks/1.png"}


def test_masks_beside_their_images_are_no_images() -> None:
    fill("test/1.png", "test/1_GT.png", "test/a/2.jpg", "test/a/2_label.bmp", "test/a/2_b.png")
    with pytest.raises(InputError, match=r"no mask of 'test/a/2_b\.png'"):
        pairs("test", "test")
    Path("test/a/2_b.png").unlink()
    assert pairs("test", "test") == {
        "test/1.png": "test/1_GT.png",
        "test/a/2.jpg": "test/a/2_label.bmp",
    }


def test_image_is_not_left_out_because_masks_elsewhere_are_called_so() -> None:
    fill("test/1.png", "test/1_label.png", "m/1.png", "m/1_label.png")
    assert pairs("test", "m") == {"test/1.png": "m/1.png", "test/1_label.png": "m/1_label.png"}


def test_folders_inside_are_not_searched_for_training_and_detection() -> None:
    fill("test/good/1.png")
    with pytest.raises(InputError, match="There are no images in 'test'"):
        find_images(["test"])


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_linked_folders_lead_in_no_circle() -> None:
    fill("test/a/1.png", "m/a/1.png")
    Path("test/a/again").symlink_to(Path("test").absolute())
    assert pairs("test", "m") == {"test/a/1.png": "m/a/1.png"}


def test_folders_without_images_are_named() -> None:
    Path("test/inside").mkdir(parents=True)
    with pytest.raises(InputError, match="no images in 'test' and its subfolders"):
        find_images(["test"], nested=True)


@pytest.mark.parametrize("pattern", ["scan[1]/*.png", "scan[1]/?.png", "scan[1]/**/*.png"])
def test_folder_of_a_pattern_may_be_called_like_one(pattern: str) -> None:
    fill("scan[1]/a.png", "scan1/b.png")
    assert find_images([pattern]) == [Path("scan[1]/a.png")]
    assert find_images(["scan[0-9]/*.png"]) == [Path("scan1/b.png")]
    with pytest.raises(InputError, match="No image matches"):
        find_images(["scan[1]/nowhere/a.png"])


@pytest.mark.parametrize("other", ["gt/1_mask.png", "gt/1.tif", "gt/1-GT.bmp"])
def test_no_image_has_two_masks(other: str) -> None:
    fill("test/1.png", "gt/1.png", other)
    with pytest.raises(InputError, match=r"may both be the mask of 'test.1\.png'; remove one"):
        match_masks(["test/1.png"], "gt")


@pytest.mark.parametrize("name", ["a.czi", "a.ND2", "a.lif", "a.dm4", "a.ims", "a.h5", "a.webp"])
def test_file_of_a_format_that_is_not_read_is_one_sentence_with_what_to_do(name: str) -> None:
    fill(name)
    with pytest.raises(InputError) as caught:
        find_images([name])
    assert str(caught.value) == (
        f"'{name}' is not an image that can be read (TIF, PNG, JPG, BMP, ZARR); save it as TIFF or "
        "PNG (a microscope's format as OME-TIFF, with Fiji or bfconvert), or open it in napari "
        "with a reader for its format."
    )


@pytest.mark.parametrize("chosen", ["scans", "scans/*.czi"])
def test_folder_or_pattern_of_such_files_only_is_the_same_sentence(chosen: str) -> None:
    fill("scans/b10.czi", "scans/b9.czi", "scans/notes.txt")
    with pytest.raises(InputError, match=r"'scans.b9\.czi' .*OME-TIFF, with Fiji"):
        find_images([chosen])


def test_such_files_among_images_are_left_out_with_a_word() -> None:
    fill("scans/a.png", "scans/b.czi", "scans/c.DM4", "scans/notes.txt", "scans/in/d.nd2")
    assert find_images(["scans"]) == [Path("scans/a.png")]
    notice = unread_notice(["scans"])
    assert notice is not None
    assert notice.startswith(f"'{Path('scans/b.czi')}' and 1 more are left out: save")
    assert "and 2 more" in str(unread_notice(["scans"], nested=True))
    assert "b.czi' and 1 more" in str(unread_notice(["scans/*"]))
    assert unread_notice(["scans/a.png", "scans/in/*.png"]) is None


@pytest.mark.parametrize("ending", ["mpo", "jfif", "JPE", "pgm", "heif", "btf", "stk", "scn"])
def test_rarer_images_are_left_out_of_folders_with_a_word_too(ending: str) -> None:
    fill("scans/a.png", f"scans/b.{ending}")
    assert find_images(["scans"]) == [Path("scans/a.png")]
    assert f"b.{ending}' is left out: save it as TIFF" in str(unread_notice(["scans"]))

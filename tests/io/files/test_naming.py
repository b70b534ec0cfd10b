"""Results have names that tell which image they are about."""

from __future__ import annotations

from pathlib import Path

from napari_ssim_defects.io.files.naming import image_stem, output_stems, table_names


def test_stem_is_the_name_without_folder_and_ending() -> None:
    names = ["a/weave.png", "weave.ome.tif", "weave.v2.OME.TIFF", ".ome.tif"]
    assert [image_stem(name) for name in names] == ["weave", "weave", "weave.v2", ".ome"]


def test_output_stems_never_collide() -> None:
    paths = ["a/x.png", "b/x.png", "x.tif", "c/x-2.png", "X.bmp", "y.png"]
    stems = output_stems(paths)
    assert stems == ["x", "x-3", "x-4", "x-2", "X-5", "y"]
    assert stems == output_stems(paths)
    assert len({stem.casefold() for stem in stems}) == len(paths)


def test_images_of_one_name_are_told_apart_by_their_paths() -> None:
    paths = [Path("a/x.png"), Path("b/x.png"), Path("b/y.png")]
    assert table_names(paths) == [str(paths[0]), str(paths[1]), "y.png"]

"""A residual that fills up in any order is the residual."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.utils import resize_dask_cache

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import SegmentationConfig
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.segmentation.segment import segment
from napari_ssim_defects.io.files import pyramid
from napari_ssim_defects.io.files.pyramid import ScratchPyramid, halved
from napari_ssim_defects.scale import residual_store
from napari_ssim_defects.scale.block_detection import outline_blocks
from napari_ssim_defects.scale.lazy import lazy_residual
from napari_ssim_defects.scale.residual_store import Priority, ResidualStore

pytestmark = pytest.mark.slow

Plane = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.fixture(autouse=True)
def small(small_tiles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small planes have many tiles and smaller copies."""
    for name, value in (("LARGE_SIDE", 200), ("_SMALLEST_SIDE", 64)):
        monkeypatch.setattr(pyramid, name, value)


def _store(model: DefectModel, image: Any, folder: Path, **options: Any) -> ResidualStore:
    return ResidualStore(model, model.planes(image), folder, device="cpu", **options)


def _filled(store: ResidualStore, priority: Priority | None = None) -> list[float]:
    return list(store.fill(priority))


@pytest.mark.parametrize("centre", [None, (0.0, 0.0), (190.0, 20.0), (100.0, 150.0)])
def test_the_order_does_not_change_a_bit(
    viewed_model: DefectModel, spoilt: Plane, tmp_path: Path, centre: tuple[float, float] | None
) -> None:
    store = _store(viewed_model, spoilt, tmp_path)
    progress = _filled(store, None if centre is None else Priority((), centre))
    np.testing.assert_array_equal(store.levels[0][:], viewed_model.residual(spoilt, device="cpu"))
    assert progress == sorted(progress)
    assert progress[-1] == 1
    assert store.left == 0
    assert store.highest == store.levels[0][:].max()


def test_smaller_copies_and_the_sample_are_those_of_the_whole(
    viewed_model: DefectModel, spoilt: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_ssim_defects.scale.residual_store._SAMPLE", 5000)
    store = _store(viewed_model, spoilt, tmp_path)
    assert np.isnan(store.sample).all()
    _filled(store)
    residual = store.levels[0][:]
    finer = residual
    for level in store.levels[1:]:
        finer = halved(finer, 0)
        np.testing.assert_array_equal(level[:], finer)
    assert len(store.levels) == 4
    np.testing.assert_array_equal(store.sample, residual[::3, ::3])


def test_what_is_looked_at_comes_first(
    grey_model: DefectModel, spoilt: Plane, tmp_path: Path
) -> None:
    stack = np.stack([spoilt, spoilt, spoilt])
    store = _store(grey_model, da.from_array(stack, chunks=(1, 64, 64)), tmp_path)
    steps = store.fill(Priority((2,), (190.0, 300.0)))
    while not store.highest:
        next(steps)
    first = np.isfinite(store.sample)
    assert first[2, -1, -1]
    assert not first[2, 0, 0]
    assert not first[:2].any()
    known = store.left
    steps.send(Priority((0,), (0.0, 0.0)))
    while store.left >= known:
        next(steps)
    while np.isfinite(store.sample).sum() == first.sum():
        next(steps)
    assert np.isfinite(store.sample)[0, 0, 0]
    for _ in steps:
        pass
    np.testing.assert_array_equal(store.levels[0][:], grey_model.residual(stack, device="cpu"))


def test_what_napari_caches_of_dask_does_not_matter(
    grey_model: DefectModel, material: Any, tmp_path: Path
) -> None:
    # While it slices a dask layer, napari caches what dask computes anywhere in the process.
    image = material(3, (203, 310))
    with resize_dask_cache():
        store = _store(grey_model, image, tmp_path)
        _filled(store)
        lazy = lazy_residual(grey_model, da.from_array(image, chunks=64), device="cpu").compute()
    expected = grey_model.residual(image, device="cpu")
    np.testing.assert_array_equal(store.levels[0][:], expected)
    np.testing.assert_array_equal(lazy, expected)


def test_what_was_begun_goes_on(grey_model: DefectModel, spoilt: Plane, tmp_path: Path) -> None:
    store = _store(grey_model, spoilt, tmp_path)
    steps = store.fill()
    while not store.highest:
        next(steps)
    steps.close()
    before = store.left
    assert before > 0
    _filled(store)
    np.testing.assert_array_equal(store.levels[0][:], grey_model.residual(spoilt, device="cpu"))


def test_a_second_job_waits_for_the_last_step_of_the_first(
    viewed_model: DefectModel, spoilt: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    real = residual_store.needs_whole_plane

    def held(*arguments: Any) -> Any:
        if not entered.is_set():
            entered.set()
            go_on.wait(60)
        return real(*arguments)

    monkeypatch.setattr(residual_store, "needs_whole_plane", held)
    store = _store(viewed_model, spoilt, tmp_path)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(next, store.fill())
        assert entered.wait(60)
        second = pool.submit(_filled, store)
        go_on.set()
        first.result(60)
        assert second.result(60)[-1] == 1
    np.testing.assert_array_equal(store.levels[0][:], viewed_model.residual(spoilt, device="cpu"))


def test_two_jobs_that_take_turns_find_what_one_does(
    viewed_model: DefectModel, spoilt: Plane, tmp_path: Path
) -> None:
    store = _store(viewed_model, spoilt, tmp_path)
    for _ in itertools.zip_longest(store.fill(), store.fill()):
        pass
    np.testing.assert_array_equal(store.levels[0][:], viewed_model.residual(spoilt, device="cpu"))
    assert store.left == 0


def test_only_the_residual_stays_on_disk(
    grey_model: DefectModel, spoilt: Plane, tmp_path: Path
) -> None:
    store = _store(grey_model, spoilt, tmp_path)
    _filled(store)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def test_labels_are_kept_with_smaller_copies(
    grey_model: DefectModel, spoilt: Plane, tmp_path: Path
) -> None:
    stack = np.stack([spoilt, spoilt[::-1]])
    store = _store(grey_model, stack, tmp_path)
    _filled(store)
    config = SegmentationConfig(opening=2, min_area=4)
    threshold = grey_model.calibration.threshold(0.05)
    (tmp_path / "labels").mkdir()
    keep = ScratchPyramid(tmp_path / "labels", store.shape, np.dtype(np.int32))
    steps = outline_blocks(store.levels[0], threshold, config, keep)
    progress = []
    while True:
        try:
            progress.append(next(steps))
        except StopIteration as finished:
            found = finished.value
            break
    expected = segment(store.levels[0][:], threshold=threshold, **config.model_dump())
    np.testing.assert_array_equal(keep.levels[0][:], expected)
    np.testing.assert_array_equal(keep.levels[1][:], halved(expected, 1))
    assert len(found.regions) == expected.max() > 1
    assert progress == sorted(progress)


def test_a_part_that_cannot_be_used_is_named(grey_model: DefectModel, tmp_path: Path) -> None:
    image = np.zeros((200, 200), np.float32)
    image[150, 150] = np.nan
    store = _store(grey_model, image, tmp_path)
    with pytest.raises(InputError, match=r"NaN|finite"):
        _filled(store)


def test_a_folder_that_takes_nothing_is_one_sentence(
    grey_model: DefectModel, spoilt: Plane, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="missing"):
        _store(grey_model, spoilt, tmp_path / "file" / "missing")

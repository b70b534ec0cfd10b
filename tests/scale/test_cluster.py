"""A cluster gives what one computer gives, also when a worker is killed."""

from __future__ import annotations

import csv
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import SegmentationConfig
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.io.artifacts.recipe import DetectionSettings
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.scale.folders import FileDone, FileFailed, FileProgress, detect_files

pytestmark = pytest.mark.slow

distributed = pytest.importorskip("distributed")

SEGMENTATION = SegmentationConfig(opening=2, min_area=4)


@pytest.fixture
def paths(material: Callable[..., Any], tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        Image.fromarray(material(number, spoilt=True)).save(file)
    return files


def _messages(model: DefectModel, paths: list[Path], folder: Path, **options: Any) -> list[Any]:
    threshold = model.calibration.threshold(0.05)
    return list(
        detect_files(
            model,
            paths,
            folder,
            DetectionSettings(
                threshold=threshold, segmentation=SEGMENTATION, device="cpu", **options
            ),
        )
    )


def _table(folder: Path) -> list[list[str]]:
    with (folder / "regions.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def _same_results(paths: list[Path], first: Path, second: Path) -> None:
    assert _table(first) == _table(second)
    for path in paths:
        for kind in ("residual", "labels"):
            name = f"{path.stem}.{kind}.ome.tif"
            np.testing.assert_array_equal(
                read_image(first / name).data, read_image(second / name).data
            )


def test_workers_write_what_one_computer_writes(
    grey_model: DefectModel, paths: list[Path], tmp_path: Path, threads: str
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    here, there = tmp_path / "here", tmp_path / "there"
    _messages(grey_model, paths, here)
    messages = _messages(grey_model, [bad, *paths], there, cluster=threads, report=True)
    done = [message for message in messages if isinstance(message, FileDone)]
    assert {message.path for message in done} == set(paths)
    assert not any(message.earlier for message in done)
    (failed,) = (message for message in messages if isinstance(message, FileFailed))
    assert failed.path == bad
    assert "bad.png" in failed.reason
    fractions = [message.fraction for message in messages if isinstance(message, FileProgress)]
    # Said again and again while workers are busy, so that whoever listens can stop.
    assert sorted(fractions) == fractions
    assert sorted(set(fractions)) == pytest.approx([number / 7 for number in range(8)])
    _same_results(paths, here, there)
    assert (there / "report.html").exists()
    again = _messages(grey_model, paths, there, cluster=threads)
    assert [message.earlier for message in again] == [True] * len(paths)


def test_the_model_is_gone_from_the_workers_afterwards(
    grey_model: DefectModel, paths: list[Path], tmp_path: Path, threads: str
) -> None:
    _messages(grey_model, paths[:2], tmp_path / "out", cluster=threads)
    with distributed.Client(threads) as client:
        plugins = client.run(lambda dask_worker: list(dask_worker.plugins))
    assert not any("napari-ssim-defects" in name for names in plugins.values() for name in names)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_worker_costs_its_unfinished_images_only(
    grey_model: DefectModel, paths: list[Path], tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    _messages(grey_model, paths, here)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        processes = client.run(os.getpid)
        done: list[Path] = []
        for message in detect_files(
            grey_model,
            paths,
            there,
            DetectionSettings(
                threshold=grey_model.calibration.threshold(0.05),
                segmentation=SEGMENTATION,
                device="cpu",
                cluster=cluster.scheduler_address,
            ),
        ):
            if isinstance(message, FileDone):
                if not done:
                    os.kill(next(iter(processes.values())), signal.SIGKILL)
                done.append(message.path)
    assert sorted(done) == paths
    _same_results(paths, here, there)


def test_a_scheduler_that_is_not_there_is_one_sentence(
    grey_model: DefectModel, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_ssim_defects.scale.cluster._PATIENCE", 0.2)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(InputError, match="cannot be reached") as caught:
            _messages(grey_model, paths, tmp_path / "out", cluster=address)
        assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(
    grey_model: DefectModel, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"napari-ssim-defects\[dask\]"):
        _messages(grey_model, paths, tmp_path / "out", cluster="tcp://127.0.0.1:9")

"""A file is written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.files.atomic import (
    atomic_folder,
    atomic_path,
    ensure_folder,
    ensure_writable,
)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _write_half(path: Path, problem: BaseException) -> None:
    path.write_text("half of the new")
    raise problem


def test_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "map.ome.tif"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(".ome.tif")
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert _names(tmp_path) == ["map.ome.tif"]


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, exception: type[BaseException]
) -> None:
    target = tmp_path / "model.safetensors"
    target.write_text("old")
    with pytest.raises(exception), atomic_path(target) as temporary:
        _write_half(temporary, exception())
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["model.safetensors"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EACCES, "permission denied; choose a folder that you may write to"),
        (errno.EROFS, "the file system is read-only; choose another folder"),
        (errno.EIO, "choose another folder or try again"),
    ],
)
@pytest.mark.parametrize("step", ["touch", "replace"])
def test_system_errors_become_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str, step: str
) -> None:
    def fail(self: Path, *args: object, **options: object) -> None:
        raise OSError(code, os.strerror(code), str(self))

    target = tmp_path / "map.csv"
    target.write_text("old")
    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(InputError, match=advice) as caught, atomic_path(target) as temporary:
        temporary.write_text("new")
    assert str(target) in str(caught.value)
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["map.csv"]


def test_disk_that_fills_up_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "map.csv"
    target.write_text("old")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(InputError, match="disk is full"), atomic_path(target) as temporary:
        _write_half(temporary, full)
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["map.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits")
def test_file_that_outgrows_the_system_limit_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "map.ome.tif"
    target.write_text("old")
    script = f"""
import resource
import numpy as np
from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.writers.ome_tiff import write_ome_tiff
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_ome_tiff({str(target)!r}, np.random.default_rng(0).random((200, 200)))
except InputError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "files this large" in run.stdout
    assert run.stderr == ""
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["map.ome.tif"]


def test_a_thread_that_writes_on_after_a_failure_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As zarr's do, which make the folder of a file anew if it is gone."""
    removed: list[Path] = []

    def and_then_comes_another_file(folder: Path, **options: Any) -> None:
        remove(folder, **options)
        removed.append(folder)
        if len(removed) == 1:
            folder.mkdir()
            (folder / "late").write_bytes(b"1")

    def write() -> None:
        with atomic_folder(tmp_path / "a.zarr") as folder:
            (folder / "early").write_bytes(b"0")
            raise OSError(errno.ENOSPC, "full")

    remove = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", and_then_comes_another_file)
    with pytest.raises(InputError, match="disk is full"):
        write()
    assert len(removed) == 2
    assert list(tmp_path.iterdir()) == []


def test_errors_of_other_files_are_not_blamed_on_this_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "copy.txt"):
        (tmp_path / "missing.txt").read_text()
    assert _names(tmp_path) == []


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"there is no folder '.*results'; create it"),
        atomic_path(tmp_path / "results" / "map.csv"),
    ):
        pass


def test_folder_and_file_in_the_way_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="it is a folder"), atomic_path(tmp_path):
        pass
    # Windows does not say which of the two it is.
    problem = "a folder needs|there is no folder"
    with pytest.raises(InputError, match=problem), atomic_path(tmp_path / "file" / "map.csv"):
        pass
    with pytest.raises(InputError, match="a folder needs"):
        ensure_folder(tmp_path / "file")
    with pytest.raises(InputError, match="a folder needs"):
        ensure_folder(tmp_path / "file" / "deeper")


@pytest.mark.skipif(sys.platform == "win32", reason="devices are no files there")
def test_devices_are_not_replaced() -> None:
    with pytest.raises(InputError, match=os.devnull), atomic_path(os.devnull):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="limits the whole path")
def test_name_at_the_limit_is_written_and_beyond_it_is_refused(tmp_path: Path) -> None:
    longest = tmp_path / ("x" * 251 + ".csv")
    with atomic_path(longest) as temporary:
        temporary.write_text("whole")
    assert longest.read_text() == "whole"
    with pytest.raises(InputError), atomic_path(tmp_path / ("x" * 300)):
        pass
    assert _names(tmp_path) == [longest.name]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target = tmp_path / "disk" / "model"
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    with atomic_path(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_folders_are_made_with_those_that_they_lie_in(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert ensure_folder(folder) == folder
    assert ensure_folder(str(folder)) == folder
    assert folder.is_dir()


def test_file_that_can_be_written_stays_as_it_is_until_it_is(tmp_path: Path) -> None:
    target = tmp_path / "map.csv"
    ensure_writable(target)
    assert _names(tmp_path) == []
    target.write_text("old")
    ensure_writable(target)
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["map.csv"]


def test_file_that_cannot_be_written_is_known_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    problem = "a folder needs|there is no folder"
    with pytest.raises(InputError, match=problem):
        ensure_writable(tmp_path / "file" / "map.csv")
    with pytest.raises(InputError, match="there is no folder"):
        ensure_writable(tmp_path / "nowhere" / "map.csv")
    with pytest.raises(InputError, match="it is a folder"):
        ensure_writable(tmp_path)
    with pytest.raises(InputError, match="too long"):
        ensure_writable(tmp_path / ("m" * 300))

    def deny(self: Path, *args: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "touch", deny)
    with pytest.raises(InputError, match=r"map\.csv.*permission denied"):
        ensure_writable(tmp_path / "map.csv")
    assert _names(tmp_path) == ["file"]

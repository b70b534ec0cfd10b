"""Files that appear whole or not at all, and the folders that they lie in."""

from __future__ import annotations

import ctypes
import errno
import io
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import write_problem, writing

__all__ = [
    "CheckedFile",
    "atomic_folder",
    "atomic_path",
    "ensure_folder",
    "ensure_writable",
    "open_checked",
]

# Enough of the name to recognise a file that a power cut left behind; short enough that the
# temporary name is never too long where the final one is not.
_KEPT_CHARACTERS = 32

_ATTEMPTS, _PAUSE = 20, 0.02  # seconds

_SWAP = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
_WORKING_FOLDER = -100  # AT_FDCWD


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file to write to; it becomes ``path`` when the block ends well.

    The temporary file lies in the same folder, hidden, with the same suffix. It is forced to
    disk before it takes the final name, so that after a crash or a power cut ``path`` is either
    the old file or the new one. When the block raises it is removed and ``path`` stays as it was.

    Parameters
    ----------
    path
        The final file; one that exists is replaced. A symbolic link stays one.

    Yields
    ------
    pathlib.Path
        An empty file to open, write and close.

    Raises
    ------
    InputError
        If the file cannot be written: missing folder, no permission, full disk, a folder or a
        device in its place, a name that is too long.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "note.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [file.name for file in folder.iterdir()]
    ['note.txt']
    """
    target = Path(os.path.realpath(path))
    temporary = _temporary(target)
    try:
        with writing(Path(path), temporary, target):
            _refuse_special_file(target)
            # Made before the work, so that a folder that takes no files is found out before it.
            temporary.touch(exist_ok=False)
            yield temporary
            _force_to_disk(temporary)
            temporary.replace(target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder to write to; it becomes ``path`` when the block ends well.

    As `atomic_path`, for formats that are folders of files, but not forced to disk. What is in the
    way, such as the folder of an earlier run, is exchanged for the new one in one step. Where the
    system cannot do that (Windows, some file systems) it is moved aside first, so that a process
    that is killed right then leaves it under a hidden name.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    target = Path(os.path.realpath(path))
    temporary, old = _temporary(target), _temporary(target)
    try:
        with writing(Path(path), temporary, target, old):
            temporary.mkdir()
            yield temporary
            if not target.exists():
                temporary.replace(target)
            elif not _exchanged(temporary, target):
                target.replace(old)
                try:
                    temporary.replace(target)
                except OSError:
                    old.replace(target)
                    raise
    finally:
        _remove(temporary)
        _remove(old)


def ensure_writable(path: str | os.PathLike[str]) -> None:
    """Find out before the work whether its result can be written; leaves no trace.

    Raises
    ------
    InputError
        If `atomic_path` could not begin to write the file.
    """
    target = Path(os.path.realpath(path))
    temporary = _temporary(target)
    try:
        _refuse_special_file(target)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise write_problem(Path(path), error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def ensure_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder, and those that it lies in, unless it exists.

    Raises
    ------
    InputError
        If it cannot be made: a file is in the way, no permission, full disk.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_problem(folder, error) from error
    return folder


def _temporary(target: Path) -> Path:
    return target.parent / f".{secrets.token_hex(4)}-{target.name[-_KEPT_CHARACTERS:]}"


def _remove(path: Path) -> None:
    """Remove a folder or file, if it is there.

    After one thread has failed, others may still write their last file and make the folder again,
    so removal is tried several times.
    """
    for _ in range(_ATTEMPTS):
        if not os.path.lexists(path):
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink(missing_ok=True)
        time.sleep(_PAUSE)


def _exchanged(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; False if the system cannot do that."""
    if sys.platform == "win32":
        return False
    library, names = ctypes.CDLL(None), (os.fsencode(first), os.fsencode(second))
    if sys.platform == "darwin":
        return hasattr(library, "renamex_np") and library.renamex_np(*names, _SWAP) == 0
    places = (_WORKING_FOLDER, names[0], _WORKING_FOLDER, names[1])
    return hasattr(library, "renameat2") and library.renameat2(*places, _SWAP) == 0


def _refuse_special_file(target: Path) -> None:
    """Refuse what a file cannot or must not replace: folders, and devices such as ``/dev/null``."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a device, not a file", str(target))


def _force_to_disk(file: Path) -> None:
    with file.open("r+b") as stream:
        os.fsync(stream.fileno())


class CheckedFile(io.BufferedRandom):
    """A file without a descriptor for others.

    `numpy.ndarray.tofile` writes to a descriptor through a buffer of C and misses errors of its
    last kilobytes, so that a full disk would leave a truncated file unnoticed. Without a descriptor
    it hands over bytes.
    """

    def fileno(self) -> int:
        """Raise `io.UnsupportedOperation`."""
        raise io.UnsupportedOperation("fileno")


def open_checked(path: Path) -> CheckedFile:
    """Make a file, or empty the one that is there, to write to it."""
    return CheckedFile(io.FileIO(path, "w+"))

"""Turns errors of the system and of decoders into one sentence about the file."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.common.errors import InputError

__all__ = [
    "read_problem",
    "reading",
    "refuse_implausible_size",
    "write_problem",
    "writing",
]

_PERMISSION = {errno.EACCES, errno.EPERM}
# Windows has no disk quota error.
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}

_SMALL = 2**28
# Deflate, the commonest codec, cannot expand further than 1032-fold, LZW not beyond 2800-fold.
_LARGEST_EXPANSION = 4096


def write_problem(path: Path, error: OSError) -> InputError:
    """Return an error that says why ``path`` could not be written, and what to do."""
    code = error.errno
    if code == errno.ENOENT:
        reason = f"there is no folder '{path.parent}'; create it or choose another one"
    elif code in (errno.ENOTDIR, errno.EEXIST):
        reason = "a file has the name that a folder needs; choose another folder"
    elif code == errno.EISDIR:
        reason = "it is a folder; choose another name"
    elif code in _PERMISSION:
        reason = (
            "permission denied; choose a folder that you may write to, and close programs that use "
            "the file"
        )
    elif code == errno.EROFS:
        reason = "the file system is read-only; choose another folder"
    elif code in _FULL:
        reason = "the disk is full; free some space or choose another folder"
    elif code == errno.EFBIG:
        reason = "the file system does not allow files this large; choose another disk"
    elif code is None and "requested and" in str(error):  # NumPy, which does not say why
        reason = (
            "the disk is full, or does not allow files this large; free some space or choose "
            "another disk"
        )
    elif code == errno.ENAMETOOLONG:
        reason = "the name is too long; choose a shorter one"
    else:
        reason = f"{error.strerror or error}; choose another folder or try again"
    return InputError(f"Cannot write '{path}': {reason}.")


@contextmanager
def writing(path: Path, *places: Path) -> Iterator[None]:
    """Turn what the system says while ``path`` is written into an `InputError`.

    Parameters
    ----------
    path
        What the sentence names.
    places
        Files and folders that are written to for it; errors of others pass.

    Raises
    ------
    InputError
        If the block raises an error of the system about one of the places, or about no file.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None and not any(
            Path(str(error.filename)).is_relative_to(place) for place in places
        ):
            raise
        raise write_problem(path, error) from error


def read_problem(path: Path, error: OSError) -> InputError:
    """Return an error that says why ``path`` could not be opened or listed, and what to do."""
    if error.errno == errno.ENOENT:
        return InputError(f"There is no '{path}'; check its name and folder.")
    if error.errno == errno.ENOTDIR:
        return InputError(
            f"'{path}' is not a folder, or is said to be inside a file; check its name."
        )
    if error.errno in _PERMISSION:
        return InputError(f"'{path}' cannot be read: permission denied; ask its owner for access.")
    return InputError(
        f"'{path}' could not be read: {error.strerror or error}; check its name and the disk."
    )


@contextmanager
def reading(path: Path, kind: str, *, folder: bool = False) -> Iterator[None]:
    """Turn any error while ``path`` is read into an `InputError`.

    Decoders of untrusted files raise nearly every exception there is, so all of them count as
    damage here; interrupts pass.

    Parameters
    ----------
    path
        The file.
    kind
        What it should be, with its article: ``"a TIFF image"``.
    folder
        Whether it may be a folder.

    Raises
    ------
    InputError
        If the block raises any exception.
    """
    try:
        if path.is_dir():
            if not folder:  # Windows would call it a lack of permission
                raise InputError(f"'{path}' is a folder; choose a file in it.")
        elif path.exists() and not path.is_file():  # it would never end, or never begin
            raise InputError(f"'{path}' is a device or a pipe; choose a file.")
        elif path.stat().st_size == 0:
            raise InputError(f"'{path}' is empty; restore or export it again.")
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(
            f"'{path}' is damaged or larger than the memory of this computer; crop it or split it."
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise read_problem(path, error) from error
        raise InputError(
            f"'{path}' is damaged or not {kind}; restore or export it again."
        ) from error


def refuse_implausible_size(path: Path, nbytes: int) -> None:
    """Refuse a file whose header declares more pixels than its bytes can encode.

    Raises
    ------
    InputError
        If ``nbytes``, the decoded size, is both large and thousands of times that of the file.
    """
    if nbytes > _SMALL and nbytes > _LARGEST_EXPANSION * path.stat().st_size:
        raise InputError(
            f"'{path}' is damaged: it declares {nbytes / 2**30:.3g} GiB of pixels, which a file "
            "of its size cannot hold; restore or export it again."
        )

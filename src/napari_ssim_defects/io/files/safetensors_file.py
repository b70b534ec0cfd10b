"""Safetensors files, which may come from anybody: reading one executes nothing from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save

from ...core.common.errors import InputError
from .atomic import atomic_path
from .errors import reading

__all__ = ["read_metadata", "read_safetensors", "write_safetensors"]

_LENGTH_BYTES = 8
_LARGEST_HEADER = 10 * 2**20
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def write_safetensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, npt.NDArray[Any]],
    metadata: Mapping[str, str],
) -> None:
    """Write arrays and texts to one safetensors file, whole or not at all.

    Parameters
    ----------
    path
        The file; one that exists is replaced.
    tensors
        Arrays of any shape, by name.
    metadata
        Texts, by name.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    content = save(
        {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}, dict(metadata)
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_safetensors(
    path: str | os.PathLike[str], *, max_bytes: int = 2**31
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Read the arrays and the texts of a safetensors file.

    Parameters
    ----------
    path
        The file.
    max_bytes
        Larger files are refused; so are headers above 10 MiB.

    Returns
    -------
    tensors
        Arrays, by name; writable and in memory.
    metadata
        Texts, by name; empty if the file has none.

    Raises
    ------
    InputError
        If it is missing, cannot be read, is too large, damaged, or no safetensors file.
    """
    file = Path(path)
    with reading(file, "a safetensors file"):
        _check_header(file, max_bytes)
        with safe_open(file, framework="np") as content:
            tensors = {name: np.array(content.get_tensor(name)) for name in content.keys()}  # noqa: SIM118
            return tensors, dict(content.metadata() or {})


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the texts of a safetensors file of any size, and none of its arrays.

    Raises
    ------
    InputError
        If it is missing, cannot be read, damaged, or no safetensors file.
    """
    file = Path(path)
    with reading(file, "a safetensors file"):
        _check_header(file)
        with safe_open(file, framework="np") as content:
            return dict(content.metadata() or {})


def _check_header(file: Path, max_bytes: int | None = None) -> None:
    """Refuse files that are clearly none, damaged or too large, before they are parsed."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(_LENGTH_BYTES + 1)
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    if start[_LENGTH_BYTES:] != b"{":
        if start.startswith(_PICKLES):
            raise InputError(
                f"'{file}' is a pickle (a .pt or .pth file, say), which could run programs and "
                "is never opened; choose a .safetensors file."
            )
        raise InputError(f"'{file}' is not a safetensors file; choose one that is.")
    if length > _LARGEST_HEADER or _LENGTH_BYTES + length > size:
        raise InputError(f"'{file}' is damaged or cut off; copy it again or restore a backup.")
    if max_bytes is not None and size > max_bytes:
        raise InputError(
            f"'{file}' is larger than {max_bytes / 2**30:.3g} GiB, the most that is read; choose "
            "a smaller one."
        )

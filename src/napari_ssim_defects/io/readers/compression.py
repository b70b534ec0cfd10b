"""Compressed pieces of a TIFF file that would expand to more than they stand for."""

from __future__ import annotations

import lzma
import math
import zlib
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import tifffile

from ...core.common.errors import InputError

__all__ = ["refuse_bombs"]

_DEFLATE = (8, 32946, 50013)
_LZMA = 34925
# Compressed bytes that become 256 MiB at most: deflate expands 1032-fold, LZMA some 7000-fold.
_HARMLESS = {**dict.fromkeys(_DEFLATE, 2**18), _LZMA: 2**15}
_PADDING = 2**16  # bytes that a piece may have beyond its pixels
_AT_ONCE = 2**20


def refuse_bombs(file: Path, series: tifffile.TiffPageSeries, most: int | None = None) -> None:
    """Refuse pieces that expand beyond the pixels that they hold, before they are decoded.

    tifffile decodes deflate and LZMA without a limit, as far as memory lasts.

    Parameters
    ----------
    file
        The file.
    series
        Its image.
    most
        How many pieces are looked at; None: all.

    Raises
    ------
    InputError
        If there is one.
    """
    page = series.keyframe
    harmless = _HARMLESS.get(page.compression)
    if harmless is None:
        return
    pixels = math.prod(page.chunks) * series.dtype.itemsize
    with file.open("rb") as stream:
        pieces = chain.from_iterable(map(_segments, series.pages))
        for offset, count in islice(pieces, most):
            if count <= harmless:
                continue
            stream.seek(offset)
            if _expands(stream.read(count), page.compression, pixels + _PADDING):
                raise InputError(
                    f"'{file}' is damaged: it has compressed pixels that expand beyond the "
                    "image; restore or export it again."
                )


def _segments(page: tifffile.TiffPage | tifffile.TiffFrame | None) -> Iterator[tuple[int, int]]:
    """Place and length of the strips or tiles of a page, which may be missing."""
    return iter(()) if page is None else zip(page.dataoffsets, page.databytecounts, strict=False)


def _expands(content: bytes, compression: int, limit: int) -> bool:
    """Whether content expands to more bytes than a limit; what is no such content does not."""
    decoder: Any = zlib.decompressobj() if compression in _DEFLATE else lzma.LZMADecompressor()
    total = 0
    try:
        while not decoder.eof:
            total += len(decoder.decompress(content, _AT_ONCE))
            if total > limit:
                return True
            # What was not looked at yet stays with the decoder of LZMA, not with that of deflate.
            content = decoder.unconsumed_tail if compression in _DEFLATE else b""
            if not content and (compression in _DEFLATE or decoder.needs_input):
                break
    except (zlib.error, lzma.LZMAError):
        return False
    return False

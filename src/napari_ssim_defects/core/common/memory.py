"""Memory that is used again and again.

Each step of a training, and each image of a detection, needs the same hundreds of megabytes. The C
library of Linux gives large pieces back to the system as soon as they are free, which then has to
clear them, page by page, for the next one: a third of the time of a step with the paper's network
(benchmarks/README.md).
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["memory_kept"]

# Numbers of malloc.h, and what they are while memory is kept and afterwards: the library's own
# largest values, which it would not have changed back either once large pieces were used.
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = -3, -1, -2
_KEPT = {_MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26}
_USUAL = {_MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26, _TOP_PAD: 2**17}

_lock = threading.Lock()
_keeping = 0  # contexts that are open, in any thread


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep freed memory until the end, if the C library supports that (glibc).

    Contexts may overlap: the end is that of the last one.
    """
    global _keeping
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        yield
        return
    assert library is not None
    with _lock:
        _keeping += 1
        for option, value in _KEPT.items():
            library.mallopt(option, value)
    try:
        yield
    finally:
        with _lock:
            _keeping -= 1
            if not _keeping:
                for option, value in _USUAL.items():
                    library.mallopt(option, value)
                library.malloc_trim(0)

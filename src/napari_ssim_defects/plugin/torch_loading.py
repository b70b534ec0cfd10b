"""PyTorch, loaded in a thread without keeping the viewer from drawing."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["load_torch"]


def load_torch() -> None:
    """Import PyTorch in this thread.

    Python keeps every other thread waiting while a native library is loaded, and PyTorch's take
    the system a good part of a second. A foreign function does not: so it is the system that is
    asked for them first, in the order and the way in which PyTorch does. Where that is not
    possible, importing finds it out in its own words.
    """
    if "torch" not in sys.modules and os.name == "posix":
        _load_libraries()
    import torch  # noqa: F401


def _load_libraries() -> None:
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        return
    load = ctypes.CDLL(None).dlopen
    load.argtypes, load.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    for name, mode in (("global_deps", os.RTLD_GLOBAL), ("python", os.RTLD_LOCAL)):
        library = Path(torch.origin).parent / "lib" / f"libtorch_{name}{suffix}"
        load(os.fsencode(library), os.RTLD_NOW | mode)

"""Loads PyTorch in a thread without blocking the viewer."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

__all__ = ["load_torch"]


def load_torch(*, optimiser: bool = False) -> None:
    """Import PyTorch in this thread.

    An import blocks all other threads in two ways, each for a good part of a second: while a
    native library is loaded, and while the garbage collector visits the hundreds of thousands of
    objects that importing creates. Both are avoided here.

    Parameters
    ----------
    optimiser
        Whether to import what PyTorch puts off until the first optimiser is made, too.
    """
    with _no_collection():
        if "torch" not in sys.modules and os.name == "posix":
            _load_libraries()
        if "triton" not in sys.modules and hasattr(os, "RTLD_DEEPBIND"):
            _load_triton()
        import torch

        if optimiser:
            torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])


def _load_libraries() -> None:
    """Ask the system for PyTorch's libraries, in the order and the way that PyTorch does.

    If this fails, the import raises its own error.
    """
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        return
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    for name, mode in (("global_deps", os.RTLD_GLOBAL), ("python", os.RTLD_LOCAL)):
        _load(Path(torch.origin).parent / "lib" / f"libtorch_{name}{suffix}", mode)


def _load_triton() -> None:
    """Load the library of Triton, if it is installed, with its own functions before all others.

    PyTorch for NVIDIA cards imports it when a training begins. It brings a copy of LLVM, and the
    viewer has loaded another one by then, that of Mesa's OpenGL: without this, Triton calls
    functions of that one, and the viewer ends with a segmentation fault.
    """
    triton = find_spec("triton")
    if triton is None or triton.origin is None:
        return
    for library in sorted((Path(triton.origin).parent / "_C").glob("libtriton*.so")):
        _load(library, os.RTLD_LOCAL | os.RTLD_DEEPBIND)


def _load(library: Path, mode: int) -> None:
    """Load a library in a foreign function call, so that other threads keep running."""
    load = ctypes.CDLL(None).dlopen
    load.argtypes, load.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    load(os.fsencode(library), os.RTLD_NOW | mode)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Make objects that the garbage collector takes for old ones at once.

    It goes through old ones only when there is a quarter more of them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # with nothing gone through,
        gc.unfreeze()  # as what is thawed counts as old
        if enabled:
            gc.enable()

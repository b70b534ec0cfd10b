"""PyTorch is loaded without keeping the viewer waiting."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

# What another thread, which wants to run every millisecond, sees of the import.
PROGRAM = """
import sys, threading
from napari_ssim_defects.plugin.jobs import torch_loading

opened = []
load_libraries = torch_loading._load_libraries

def watched():
    load_libraries()
    opened.append(open("/proc/self/maps").read().count("libtorch_cpu"))

torch_loading._load_libraries = watched
thread = threading.Thread(target=torch_loading.load_torch)
thread.start()
thread.join()
import torch
assert torch.nn.functional.relu(torch.tensor([-1.0, 2.0])).tolist() == [0, 2]
print(opened[0] > 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell")
def test_the_libraries_of_pytorch_are_there_before_python_imports_it():
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "True"


@pytest.mark.skipif(not hasattr(os, "RTLD_DEEPBIND"), reason="glibc only")
def test_triton_calls_its_own_llvm_and_not_that_of_the_viewers_opengl(monkeypatch, tmp_path):
    """Two copies of LLVM in one process are a segmentation fault when a training begins."""
    from napari_ssim_defects.plugin.jobs import torch_loading

    library = tmp_path / "triton" / "_C" / "libtriton.so"
    library.parent.mkdir(parents=True)
    library.touch()
    (tmp_path / "triton" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    loaded = []
    monkeypatch.setattr(torch_loading, "_load", lambda *arguments: loaded.append(arguments))
    torch_loading.load_torch()
    mode = dict(loaded)[library]
    assert mode & os.RTLD_DEEPBIND
    assert not mode & os.RTLD_GLOBAL
    assert "triton" not in sys.modules  # importing is left to PyTorch


def test_what_is_not_installed_is_said_by_the_import_itself(monkeypatch):
    from napari_ssim_defects.plugin.jobs import torch_loading

    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(torch_loading, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="torch"):
        torch_loading.load_torch()


@pytest.mark.slow
def test_nothing_that_was_loaded_is_kept_from_the_garbage_collector():
    from napari_ssim_defects.plugin.jobs.torch_loading import load_torch

    class Node:
        pass

    node = Node()
    node.itself = node
    gone = weakref.ref(node)
    load_torch(optimiser=True)
    assert gc.isenabled()
    del node
    gc.collect()
    assert gone() is None

"""The examples in docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

PACKAGE = "napari_ssim_defects"
SOURCE = Path(__file__).parents[1] / "src" / PACKAGE


def _modules_with_examples() -> list[str]:
    paths = [path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text("utf-8")]
    parts = [path.relative_to(SOURCE).with_suffix("").parts for path in paths]
    return [".".join(part for part in (PACKAGE, *names) if part != "__init__") for names in parts]


@pytest.mark.parametrize("name", _modules_with_examples())
def test_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert not result.failed

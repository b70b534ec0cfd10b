"""The rings of the architecture, as CONTRIBUTING.md draws them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PACKAGE = "napari_ssim_defects"
SOURCE = Path(__file__).parents[1] / "src" / PACKAGE
LONGEST_MODULE = 500  # lines
HEAVY = {"torch", "napari", "PyQt5", "PyQt6", "PySide2", "PySide6", "qtpy"}

# What each ring may import of the package, itself included.
RINGS = {
    "core": {"core"},
    "io": {"io", "core"},
    "samples": {"samples", "core"},
    "scale": {"scale", "core", "io"},
    "cli": {"cli", "core", "io", "samples", "scale"},
    "plugin": {"plugin", "core", "io", "samples", "scale"},
}
# The folders of a ring, in the order of the data: each may import itself and those before it, for
# types too.
FOLDERS = {
    "core": [
        "common", "config", "images", "ssim", "patches", "networks", "detection", "segmentation",
        "model", "training", "evaluation",
    ],
    "io": ["files", "readers", "images", "writers", "artifacts"],
    "plugin": ["state", "layers", "jobs", "previews", "controllers", "views", "hooks"],
    "plugin.views": ["widgets", "plots", "sections", "panel"],
}  # fmt: skip
MOST_MODULES = 12  # of a folder
# Imported inside functions only. The public interface puts load and save on the model, and fetches
# the weights that one system needs; core stays free of files for everybody who uses neither. The
# demo ends in napari where there is a display.
DEFERRED = {
    ("core.model.defect_model", "io.artifacts.model_file"),
    ("core.networks.alexnet", "io.artifacts.pretrained_weights"),
    ("core.training.train", "io.artifacts.pretrained_weights"),
    ("cli.main", "plugin.hooks.demo_viewer"),
}

# What each ring must not import of others' packages.
FORBIDDEN = {
    "core": {"napari", "qtpy", "superqt", "magicgui", "psygnal", "tifffile", "imageio", "PIL"},
    "io": {"napari", "qtpy", "superqt", "magicgui", "psygnal"},
    "samples": {"napari", "qtpy", "superqt", "magicgui", "psygnal", "torch"},
    "scale": {"napari", "qtpy", "superqt", "magicgui", "psygnal"},
}
# What a view may know of the engine: values to show and to edit, and how figures are drawn, never
# a computation.
VALUES = {
    "core.common.errors",
    "core.common.progress",
    "core.config",
    "core.config.presets",
    "core.config.settings",
    "core.model.thresholds",
    "core.model.verdict",
    "core.training.messages",
    "io.writers.figures",
}
WORKERS = "plugin.jobs.workers"
THREADS = {
    "concurrent.futures",
    "multiprocessing",
    "napari.qt.create_worker",
    "napari.qt.thread_worker",
    "napari.qt.threading",
    "qtpy.QtCore.QRunnable",
    "qtpy.QtCore.QThread",
    "qtpy.QtCore.QThreadPool",
    "superqt.utils.create_worker",
    "superqt.utils.new_worker_qthread",
    "superqt.utils.thread_worker",
    "threading.Thread",
    "threading.Timer",
}


def _name(path: Path) -> str:
    """Return a module's name inside the package: ``core.ssim``; ``""`` is the package itself."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _nodes(node: ast.AST, *, deferred: bool, types: bool = False) -> Iterator[ast.AST]:
    """Walk the code that runs on import.

    With ``deferred`` the insides of functions too, with ``types`` what only type checkers read.
    """
    for child in ast.iter_child_nodes(node):
        if _is_type_checking(child) and not types:
            continue
        if not deferred and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield child
        yield from _nodes(child, deferred=deferred, types=types)


@cache
def _imports(module: str, *, deferred: bool = True, types: bool = False) -> frozenset[str]:
    """Return the absolute names of all modules (and of names in them) that a module imports."""
    path = MODULES[module]
    here = [PACKAGE, *(module.split(".") if module else [])]
    package = here if path.name == "__init__.py" else here[:-1]
    names: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    for node in _nodes(tree, deferred=deferred, types=types):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def _own_imports(module: str, *, deferred: bool = True, types: bool = False) -> set[str]:
    """Return the modules of this package that a module imports."""
    names = _imports(module, deferred=deferred, types=types)
    own = {name.removeprefix(PACKAGE + ".") for name in names if name.startswith(PACKAGE + ".")}
    return {name for name in own if name in MODULES} - {module}


def _matches(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(root + ".") for root in roots)


def _in_ring(*rings: str) -> list[str]:
    return [name for name in MODULES if name.split(".")[0] in rings]


def test_every_module_lies_in_a_ring() -> None:
    assert {name.split(".")[0] for name in MODULES} <= {"", *RINGS}


def test_imports_point_inwards() -> None:
    outwards = {
        (module, name)
        for module in _in_ring(*RINGS)
        for name in _own_imports(module)
        if name.split(".")[0] not in RINGS[module.split(".")[0]]
    }
    assert outwards <= DEFERRED


@pytest.mark.parametrize(("module", "target"), sorted(DEFERRED))
def test_exceptions_to_the_rings_are_deferred_and_in_use(module: str, target: str) -> None:
    assert target in _own_imports(module)
    assert target not in _own_imports(module, deferred=False)


def test_inner_rings_know_neither_qt_nor_napari() -> None:
    assert not {
        (module, name)
        for module in _in_ring(*FORBIDDEN)
        for name in _imports(module)
        if _matches(name, FORBIDDEN[module.split(".")[0]])
    }


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {re.split(r"[^\w-]", line)[0] for lines in lists for line in lines}
    distributions = packages_distributions()
    imported = {name.split(".")[0] for module in MODULES for name in _imports(module, types=True)}
    undeclared = {
        package
        for package in imported - sys.stdlib_module_names - {PACKAGE}
        if not {name.lower().replace("_", "-") for name in distributions[package]} & declared
    }
    assert undeclared <= {"distributed"}  # which comes with dask[distributed]


def test_no_modules_import_each_other_not_even_for_types() -> None:
    remaining = {
        name: {
            target
            for target in _own_imports(name, types=True)
            # A package that holds names of its modules is none of what its modules import.
            if (name, target) not in DEFERRED and not name.startswith(f"{target}.")
        }
        for name in MODULES
    }
    while remaining:
        free = {name for name, needs in remaining.items() if not needs & remaining.keys()}
        assert free, f"import cycle among {sorted(remaining)}"
        remaining = {name: needs for name, needs in remaining.items() if name not in free}


def _place(module: str) -> tuple[str, int] | None:
    """Return the parent of the folder that a module lies in, and which of its folders it is."""
    for parent in sorted(FOLDERS, key=len, reverse=True):
        if module.startswith(f"{parent}."):
            return parent, FOLDERS[parent].index(module.removeprefix(f"{parent}.").split(".")[0])
    return None


def test_folders_import_those_before_them_only() -> None:
    places = {module: _place(module) for module in _in_ring(*FOLDERS)}
    assert not {
        (module, name)
        for module, here in places.items()
        for name in _own_imports(module, types=True)
        if here is not None
        and (there := places.get(name)) is not None
        and there[0] == here[0]
        and there[1] > here[1]
    }


def test_folders_can_be_taken_in_at_a_glance() -> None:
    folders = {path.parent for path in MODULES.values()}
    sizes = {
        folder.name: sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        for folder in folders
    }
    assert max(sizes.values()) <= MOST_MODULES, sizes


def test_modules_are_a_few_pages_at_most() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}
    assert not {name: count for name, count in lines.items() if count > LONGEST_MODULE}


def test_only_the_workers_start_threads() -> None:
    found = set()
    for module, path in MODULES.items():
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        attributes = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
        if any(_matches(name, THREADS) for name in _imports(module) | attributes):
            found.add(module)
    assert found <= {WORKERS}


def test_views_know_values_only() -> None:
    engine = {
        name
        for module in _in_ring("plugin")
        if module.startswith("plugin.views")
        for name in _own_imports(module)
        if not name.startswith("plugin") and MODULES[name].name != "__init__.py"
    }
    assert engine <= VALUES


def _loads(statement: str) -> set[str]:
    """Return which of the heavy packages a statement imports in a fresh Python."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return HEAVY & set(answer.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement",
    [
        f"import {PACKAGE}; dir({PACKAGE}); {PACKAGE}.__version__",
        f"from {PACKAGE} import InputError, SegmentationConfig, TrainingConfig",
    ],
)
def test_importing_the_package_imports_neither_torch_nor_qt(statement: str) -> None:
    assert not _loads(statement)


def test_help_of_the_command_line_imports_neither_torch_nor_qt() -> None:
    commands = ["", "demo", "train", "detect", "run", "evaluate", "calibrate", "info"]
    assert not _loads(
        f"from {PACKAGE}.cli import main\nfor command in {commands}:\n"
        "    try: main([*command.split(), '--help'])\n    except SystemExit: pass"
    )


def test_public_names_can_be_imported() -> None:
    package = __import__(PACKAGE)
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name

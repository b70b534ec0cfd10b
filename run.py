#!/usr/bin/env python3
"""Set up and run this project on a computer that has nothing but Python and pip.

python3 run.py demo [ARGS...]    install into .venv, then run `napari-ssim-defects demo ARGS`
python3 run.py test [ARGS...]    install what the tests need, then run `tox ARGS`
"""

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TOOLS = ROOT / ".tools"
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
# Libraries that Qt loads from the system, by the Debian package that has them.
QT_LIBRARIES = {
    "libegl1": "libEGL.so.1",
    "libgl1": "libGL.so.1",
    "libxcb-cursor0": "libxcb-cursor.so.0",
    "libxkbcommon-x11-0": "libxkbcommon-x11.so.0",
}
# What the tests of the viewer need besides: a display without a screen, drawn by software.
SYSTEM_PACKAGES = [*QT_LIBRARIES, "xvfb", "libgl1-mesa-dri", "libdbus-1-3", "libfontconfig1"]
SYSTEM_PACKAGES += ["libglib2.0-0", "libxcb-icccm4", "libxcb-image0", "libxcb-keysyms1"]
SYSTEM_PACKAGES += ["libxcb-randr0", "libxcb-render-util0", "libxcb-shape0", "libxcb-xinerama0"]


def run(command, cwd=ROOT, env=None):
    """Run a command; when it fails, so does this script, with its status."""
    status = subprocess.call([str(part) for part in command], cwd=cwd, env=env)
    if status:
        sys.exit(status if status > 0 else 1)


def environment(path):
    """Return the Python of a virtual environment, made on first use."""
    python = path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    works = [str(python), "-m", "pip", "--version"]
    if python.exists() and not subprocess.call(works, stdout=subprocess.DEVNULL):
        return python
    if importlib.util.find_spec("ensurepip"):
        run([sys.executable, "-m", "venv", "--clear", path])
    elif importlib.util.find_spec("pip"):
        # Debian's Python comes without ensurepip; its pip may install into a folder, though.
        target = TOOLS / "virtualenv"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", target]
        run([*pip, "virtualenv"])
        variables = dict(os.environ, PYTHONPATH=str(target))
        run([sys.executable, "-m", "virtualenv", "--quiet", "--clear", path], env=variables)
    else:
        sys.exit("This Python has neither ensurepip nor pip: install python3-pip and retry.")
    return python


def install(python, *requirements):
    """Install into an environment, unless the same was installed there before."""
    recipe = [(ROOT / name).read_text("utf-8") for name in ("pyproject.toml", "constraints.txt")]
    wanted = hashlib.sha256("\n".join([*requirements, *recipe]).encode()).hexdigest()
    stamp = python.parent.parent / ".installed"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return
    print("Installing; this takes some minutes the first time.", flush=True)
    prefer_cpu_torch(python)
    run([python, "-m", "pip", "install", "-c", "constraints.txt", *requirements])
    stamp.write_text(wanted, "utf-8")


def prefer_cpu_torch(python):
    """Spare a Linux computer without NVIDIA's driver the gigabytes of the CUDA build of torch."""
    driver = Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi")
    if driver or not sys.platform.startswith("linux"):
        return
    if b"index" in subprocess.check_output([str(python), "-m", "pip", "config", "list"]):
        return  # Whoever chose where packages come from keeps that choice.
    try:
        urllib.request.urlopen(CPU_TORCH + "/torch/", timeout=5).close()
    except (OSError, ValueError):
        return
    os.environ["PIP_EXTRA_INDEX_URL"] = CPU_TORCH


def install_system_packages():
    """On Debian and Ubuntu, install what is missing for a display without a screen."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-query")):
        return
    # Newer releases append t64 to some names.
    names = [name + suffix for name in SYSTEM_PACKAGES for suffix in ("", "t64")]
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names]
    answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    there = {line.split()[0] for line in answer if line.endswith(" installed")}
    missing = [name for name in SYSTEM_PACKAGES if not there & {name, name + "t64"}]
    if not missing:
        return
    print("Installing system packages: " + " ".join(missing), flush=True)
    root = [] if os.geteuid() == 0 else ["sudo"] if sys.stdin.isatty() else ["sudo", "-n"]
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    try:
        subprocess.check_call([*apt, "update"])
        known = set(subprocess.check_output(["apt-cache", "pkgnames"], text=True).split())
        wanted = [name + "t64" if name + "t64" in known else name for name in missing]
        subprocess.check_call([*apt, "install", "-y", "--no-install-recommends", *wanted])
    except (OSError, subprocess.CalledProcessError):
        print("These system packages could not be installed; tests of the viewer may fail.")


def missing_qt_libraries():
    """Return the Debian packages that napari needs on this Linux desktop and that are missing."""
    missing = []
    if sys.platform.startswith("linux") and "DISPLAY" in os.environ:
        for package, library in QT_LIBRARIES.items():
            try:
                ctypes.CDLL(library)
            except OSError:
                missing.append(package)
    return missing


def demo(arguments):
    """Install the package with napari into .venv and run its demo."""
    python = environment(ROOT / ".venv")
    install(python, "-e", ".[all]")
    missing = missing_qt_libraries()
    if missing:
        print("Without a window, as Qt needs system libraries: install " + " ".join(missing) + ".")
        arguments = [*arguments, "--no-gui"]
    command = shutil.which("napari-ssim-defects", path=str(python.parent))
    run([command, "demo", *arguments], cwd=None)


def test(arguments):
    """Install tox and what the tests of the viewer need, and run tox."""
    install_system_packages()
    python = environment(TOOLS / "tox")
    install(python, "tox>=4.28")
    prefer_cpu_torch(python)
    run([python, "-m", "tox", *arguments])


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ".")
    verbs = {"demo": demo, "test": test}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    try:
        verbs[sys.argv[1]](sys.argv[2:])
    except KeyboardInterrupt:
        sys.exit(130)

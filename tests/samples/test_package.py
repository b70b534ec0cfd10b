"""What importing the samples costs."""

import subprocess
import sys


def test_samples_need_neither_torch_nor_qt_nor_napari():
    code = (
        "import sys; from napari_ssim_defects.samples import *; "
        "nanofibres(0, defects=1, shape=(64, 64)); checkerboard(); painted_texture(); "
        "sys.exit(' '.join({'torch', 'qtpy', 'napari'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

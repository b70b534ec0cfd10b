"""The paper's figure 2: strokes and misplaced edges, seen by SSIM and by squared error.

python examples/figure_2.py [PICTURE]
"""

from __future__ import annotations

import sys

from matplotlib.figure import Figure

from napari_ssim_defects.core.config import SquaredErrorResidual, SSIMResidual
from napari_ssim_defects.core.detection.residual import residual_map
from napari_ssim_defects.core.evaluation.scores import evaluate
from napari_ssim_defects.samples import checkerboard

sample = checkerboard()
planes = sample.image[None], sample.reconstruction[None]
residuals = {
    "SSIM, window 11": residual_map(*planes, SSIMResidual()),
    "Squared error": residual_map(*planes, SquaredErrorResidual()),
}
aurocs = {
    name: evaluate([residual], [sample.labels > 0]).auroc for name, residual in residuals.items()
}
for name, auroc in aurocs.items():
    print(f"{name}: pixel AUROC {auroc:.3f}")

if len(sys.argv) > 1:
    figure = Figure(figsize=(14, 4), dpi=100, layout="constrained")
    axes = figure.subplots(1, 4)
    for axis, title, image in zip(
        axes, ("Input", "Reconstruction"), (sample.image, sample.reconstruction), strict=False
    ):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1)
        axis.set_title(title)
    for axis, (name, residual) in zip(axes[2:], residuals.items(), strict=True):
        axis.imshow(residual, cmap="magma", vmin=0)
        axis.set_title(f"{name}: AUROC {aurocs[name]:.3f}")
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    figure.savefig(sys.argv[1])

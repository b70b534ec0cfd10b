"""The command ``calibrate``: measures good images again, and chooses the automatic threshold."""

from __future__ import annotations

import argparse

from ..core.common.errors import counted
from ..core.common.progress import drained
from .terminal import Bar, CommandResult, say_notices

__all__ = ["run_calibrate"]


def run_calibrate(options: argparse.Namespace) -> CommandResult:
    """Calibrate a model on other images, and write it."""
    from ..core.model.calibrate import calibrate
    from ..core.model.defect_model import DefectModel
    from ..io.files.atomic import ensure_writable
    from ..io.images.good_images import good_images

    output = options.output or options.model
    model = DefectModel.load(options.model)
    ensure_writable(output)  # before the work, not after it
    good = good_images(options.good, model=model, roi=options.roi)
    say_notices(good.notices)
    steps = calibrate(
        model,
        good.pixels,
        options.auto_threshold,
        channel_axis=good.channel_axis,
        names=good.names,
        device=options.device,
        masks=good.masks,
    )
    with Bar("measuring good images") as bar:
        model = drained(steps, lambda message: bar.show(message.fraction, ""))
    model.save(output)
    values = {
        "model": str(output),
        "images": len(good.pixels),
        "calibration_pixels": model.calibration.pixels,
        "policy": str(model.threshold),
        "auto_threshold": model.auto_threshold,
    }
    text = (
        f"Saved {output}: automatic threshold {model.auto_threshold:.4g} ({model.threshold}), from "
        f"{counted(len(good.pixels), 'image')}."
    )
    return CommandResult(values, text)

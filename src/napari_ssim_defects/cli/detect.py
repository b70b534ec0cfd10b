"""The command ``detect``: writes residuals, labels and tables of any number of images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.common.errors import counted
from .terminal import Bar, CommandResult, say_notices

if TYPE_CHECKING:
    from ..core.config import ResidualKind
    from ..core.model.defect_model import DefectModel
    from ..io.artifacts.recipe import DetectionRecipe

__all__ = ["model_for_detection", "run_detect"]


def model_for_detection(path: Path, residual: ResidualKind | None) -> DefectModel:
    """Read the model, and print its warnings."""
    from ..core.model.defect_model import DefectModel

    model = DefectModel.load(path).with_residual(residual)
    for text in model.warnings:
        sys.stderr.write(f"napari-ssim-defects: {text}\n")
    return model


def run_detect(recipe: DetectionRecipe, model_path: Path, *, overwrite: bool) -> CommandResult:
    """Detect defects and write the results; the exit status is 2 if an image could not be used.

    Parameters
    ----------
    recipe
        The detection.
    model_path
        The model file.
    overwrite
        Whether to process images again that an earlier run has finished.
    """
    from ..io.images.checks import files_data_bar_notice
    from ..io.images.image_file import find_images, unread_notice
    from ..io.writers.report import REPORT_NAME
    from ..io.writers.results import TABLE_NAME
    from ..scale.folders import (
        FileFailed,
        FileProgress,
        detect_files,
        several_cards,
        worker_per_card,
    )

    model = model_for_detection(model_path, recipe.residual)
    threshold, outputs = recipe.threshold_for(model), recipe.outputs
    done: list[dict[str, Any]] = []  # without the pixels: there may be many images
    failed: list[dict[str, str]] = []
    paths = find_images(recipe.images)
    bar_notice = files_data_bar_notice(paths) if recipe.roi is None else None
    notices = [text for text in (unread_notice(recipe.images), bar_notice) if text is not None]
    say_notices(notices)
    cards = () if recipe.cluster else several_cards(recipe.device, len(paths))
    with worker_per_card(cards) as here, Bar("detecting") as bar:
        settings = recipe.replace(cluster=recipe.cluster or here)
        for message in detect_files(
            model, paths, recipe.folder, settings, overwrite=overwrite, name=model_path.stem
        ):
            if isinstance(message, FileProgress):
                bar.show(message.fraction, message.path.name)
            elif isinstance(message, FileFailed):
                failed.append({"image": str(message.path), "reason": message.reason})
                bar.say(f"napari-ssim-defects: {' '.join(message.reason.splitlines())}")
            else:
                say_notices(message.notices, bar)
                done.append({
                    "image": str(message.path),
                    **{kind: _names(paths) for kind, paths in message.files.items()},
                    "regions": message.regions,
                    "defective_fraction": message.defective_fraction,
                    "seconds": message.seconds,
                    "notices": list(message.notices),
                    "earlier": message.earlier,
                })  # fmt: skip
    order = {str(path): number for number, path in enumerate(paths)}
    done.sort(key=lambda file: order[file["image"]])  # not as they were finished
    result = {
        "threshold": threshold,
        "table": str(recipe.folder / TABLE_NAME) if "table" in outputs.kinds else None,
        "report": str(recipe.folder / REPORT_NAME) if recipe.report else None,
        "images": done,
        "failed": failed,
        "roi": None if recipe.roi is None else str(recipe.roi),
        "notices": notices,
    }
    lines = [
        f"{Path(file['image']).name}: {counted(file['regions'], 'region')}, "
        f"{100 * file['defective_fraction']:.2f} % of the area"
        + " (finished earlier)"
        * file["earlier"]
        for file in done
    ]
    if failed:
        names = ", ".join(Path(file["image"]).name for file in failed)
        lines.append(f"{counted(len(failed), 'image')} could not be used: {names}.")
    earlier = sum(file["earlier"] for file in done)
    if earlier:
        lines.append(
            f"{counted(earlier, 'image')} had been finished earlier; --overwrite processes them "
            "again."
        )
    lines.append(
        f"Wrote {', '.join(outputs.kinds)} of {counted(len(done) - earlier, 'image')} to "
        f"{recipe.folder}."
    )
    return CommandResult(result, "\n".join(lines), 2 if failed else 0)


def _names(paths: Sequence[Path]) -> str | list[str]:
    """Name a file as text; the pictures of a stack are several."""
    names = [str(path) for path in paths]
    return names[0] if len(names) == 1 else names

"""The command ``evaluate``: a model scored on test images against their masks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..core.common.errors import counted
from .arguments import evaluation_settings
from .terminal import Bar, CommandResult, say_notices

if TYPE_CHECKING:
    from ..scale.folders import FilesEvaluated

__all__ = ["run_evaluate"]


def run_evaluate(options: argparse.Namespace) -> CommandResult:
    """Score a model on test images."""
    from ..io.images.checks import files_data_bar_notice
    from ..io.images.image_file import find_images, unread_notice
    from ..scale.folders import FileProgress, evaluate_files
    from .detect import model_for_detection

    if options.plot is not None:
        from ..io.files.atomic import ensure_writable
        from ..io.writers.figures import refuse_other_formats, write_curves

        refuse_other_formats(options.plot)
        ensure_writable(options.plot)  # before the work, not after it
    settings = evaluation_settings(options)
    model = model_for_detection(options.model, settings.residual)
    threshold = settings.threshold_for(model)
    paths = find_images([options.test], nested=True, besides=options.masks)
    bar_notice = files_data_bar_notice(paths) if options.roi is None else None
    unread = unread_notice([options.test], nested=True)
    say_notices(text for text in (unread, bar_notice) if text is not None)
    with Bar("evaluating") as bar:
        for message in evaluate_files(model, paths, options.masks, settings):
            if isinstance(message, FileProgress):
                bar.show(message.fraction, message.path.name)
            else:
                done = message
                say_notices(done.notices, bar)
    if options.plot is not None:
        write_curves(options.plot, done.evaluation)
    values = {"residual": model.config.residual.kind, "threshold": threshold, **_result(done)}
    return CommandResult(values, _text(done, threshold))


def _result(done: FilesEvaluated) -> dict[str, Any]:
    """Return the scores as programs read them; what needs defects is None without any."""
    from ..core.evaluation.froc import froc_summary

    evaluation = done.evaluation
    confusion = evaluation.confusion
    assert confusion is not None
    return {
        "pixel_auroc": evaluation.auroc,
        "pixel_auprc": evaluation.auprc,
        "aupro": evaluation.aupro,
        "overlap_at_fpr_0.05": {str(q): v for q, v in evaluation.overlap_quantiles.items()},
        "iou": confusion.iou if evaluation.defects else None,
        "f1": confusion.f1 if evaluation.defects else None,
        "false_positive_rate": confusion.false_positive_rate,
        "images": evaluation.images,
        "good_images": evaluation.good_images,
        "false_regions_per_good_image": evaluation.false_regions_per_good_image,
        "defects": evaluation.defects,
        "defects_found": evaluation.found,
        "false_regions_per_image": evaluation.false_regions_per_image,
        "froc": froc_summary(evaluation.froc),
        "seconds_per_image": done.seconds_per_image,
        "per_image": [
            {
                "image": str(path),
                "pixel_auroc": scores.auroc,
                "pixel_auprc": scores.auprc,
                "defects": scores.defects,
                "defects_found": scores.found,
                "false_regions": scores.false_regions,
                "iou": scores.confusion.iou,
                "f1": scores.confusion.f1,
            }
            for path, scores in zip(done.paths, evaluation.per_image, strict=True)
            if scores.confusion is not None
        ],
    }


def _text(done: FilesEvaluated, threshold: float) -> str:
    """Return the scores as a sentence; a dash stands for what needs defects without any."""
    evaluation = done.evaluation
    confusion = evaluation.confusion
    assert confusion is not None
    some = bool(evaluation.defects)
    images = counted(evaluation.images, "image")
    defects = counted(evaluation.defects, "defect")
    text = (
        f"pixel AUROC {_score(evaluation.auroc, 3)}, AUPRC {_score(evaluation.auprc, 3)}, "
        f"AUPRO {_score(evaluation.aupro, 3)} over {images} with "
        f"{defects}; median overlap at 5 % false positives "
        f"{_score(evaluation.overlap_quantiles[0.5])}; at threshold {threshold:.3f} "
        f"{evaluation.found} of {defects} found with "
        f"{evaluation.false_regions_per_image:.2f} false regions per image, IoU "
        f"{_score(confusion.iou if some else None)}, F1 {_score(confusion.f1 if some else None)}, "
        f"false positive rate {confusion.false_positive_rate:.3g}; "
        f"{done.seconds_per_image:.2f} s per image"
    )
    if evaluation.false_regions_per_good_image is not None:
        text += (
            f"; {evaluation.false_regions_per_good_image:.3g} false regions per image without "
            f"defects ({evaluation.good_images} of them)"
        )
    return text


def _score(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

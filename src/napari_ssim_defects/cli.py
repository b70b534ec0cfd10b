"""The command ``napari-ssim-defects``: demo, train, detect, evaluate, info.

Progress goes to stderr, results to stdout. Exit status: 0 done, 2 bad usage or bad input (one
line on stderr that says what is wrong and what to do), 1 anything else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .arguments import argument_parser
from .core.config import SegmentationConfig, TrainingConfig
from .core.errors import InputError
from .terminal import Bar, deferred_interrupt

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        commands = {
            "demo": _demo, "train": _train, "detect": _detect, "evaluate": _evaluate, "info": _info
        }  # fmt: skip
        options = argument_parser().parse_args(arguments)
        status = commands[options.command](options)
    except InputError as error:
        # Names of files may hold line breaks.
        print(f"napari-ssim-defects: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("napari-ssim-defects: interrupted.", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of stdout went away, as `| head` does
        # Python writes what is left in the buffer when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _train(options: argparse.Namespace) -> int:
    from .core.progress import (
        CalibrationProgress,
        TrainingFinished,
        TrainingNotice,
        TrainingStarted,
        TrainingStep,
    )
    from .core.training import STOP, train
    from .io.atomic import ensure_folder, ensure_writable
    from .io.images import find_images, read_image

    changes: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("system", "minutes", "epochs", "seed")
        if getattr(options, name) is not None
    }
    if options.epochs is not None:
        changes["minutes"] = None
    config = TrainingConfig.preset(options.preset, **changes)
    ensure_folder(options.output.absolute().parent)
    ensure_writable(options.output)  # before the work, not after it
    images = [read_image(path) for path in find_images(options.good)]
    axes = {image.channel_axis for image in images}
    messages = train(
        [image.data for image in images],
        config,
        channel_axis=axes.pop() if len(axes) == 1 else None,
        names=[f"'{image.path}'" for image in images],
        device=options.device,
    )
    last: TrainingStep | None = None
    with deferred_interrupt() as interrupted:
        with Bar("training") as bar:
            message = next(messages)
            while not isinstance(message, CalibrationProgress | TrainingFinished):
                if isinstance(message, TrainingStarted):
                    bar.say(
                        f"Training on {message.planes} planes, {message.device}, "
                        f"{message.precision}; Ctrl-C stops and keeps the best model."
                    )
                elif isinstance(message, TrainingNotice):
                    bar.say(message.text)
                elif isinstance(message, TrainingStep):
                    bar.show(message.fraction, f"loss {message.loss:.4f}")
                    last = message
                if interrupted() and last is None:
                    raise KeyboardInterrupt  # there is nothing to keep
                message = messages.send(STOP if interrupted() else None)
        if last is None:
            raise InputError("The training ended before its first step; give it more minutes.")
        with Bar("measuring good images") as bar:
            while not isinstance(message, TrainingFinished):
                assert isinstance(message, CalibrationProgress)
                bar.show(message.fraction, "")
                message = next(messages)
        model = message.model
        model.save(options.output)
    loss = last.loss if last.validation_loss is None else last.validation_loss
    result = {
        "model": str(options.output),
        "stopped": message.stopped,
        "loss": last.loss,
        "validation_loss": last.validation_loss,
        "training_seconds": last.elapsed,
        "auto_threshold": model.auto_threshold,
    }
    text = (
        f"Saved {options.output}: loss {loss:.4f} after {last.elapsed:.0f} s, "
        f"automatic threshold {model.auto_threshold:.3f}."
    )
    _print(options, result, text)
    return 0


def _detect(options: argparse.Namespace) -> int:
    from .core.model import DefectModel
    from .io.images import find_images
    from .scale.folders import FileFailed, FileProgress, detect_files

    model = DefectModel.load(options.model)
    segmentation = SegmentationConfig(
        **{name: getattr(options, name) for name in SegmentationConfig.model_fields}
    )
    threshold = model.auto_threshold if options.threshold is None else options.threshold
    done: list[dict[str, Any]] = []  # without the pixels: there may be many images
    failed: list[dict[str, str]] = []
    with Bar("detecting") as bar:
        for message in detect_files(
            model, find_images(options.images), options.output, threshold, segmentation,
            stride=options.stride, device=options.device,
        ):  # fmt: skip
            if isinstance(message, FileProgress):
                bar.show(message.fraction, message.path.name)
            elif isinstance(message, FileFailed):
                failed.append({"image": str(message.path), "reason": message.reason})
                bar.say(f"napari-ssim-defects: {' '.join(message.reason.splitlines())}")
            else:
                done.append({
                    "image": str(message.path),
                    "residual": str(message.residual_path),
                    "labels": str(message.labels_path),
                    "regions": message.regions,
                    "defective_fraction": message.defective_fraction,
                    "seconds": message.seconds,
                })  # fmt: skip
    result = {
        "threshold": threshold,
        "table": str(options.output / "regions.csv"),
        "images": done,
        "failed": failed,
    }
    lines = [
        f"{Path(file['image']).name}: {file['regions']} region{'s' * (file['regions'] != 1)}, "
        f"{100 * file['defective_fraction']:.2f} % of the area"
        for file in done
    ]
    written = f"Wrote {len(done)} residual and label images and regions.csv to {options.output}."
    _print(options, result, "\n".join([*lines, written]))
    return 2 if failed else 0


def _evaluate(options: argparse.Namespace) -> int:
    from .core.model import DefectModel
    from .io.images import find_images
    from .scale.folders import FileProgress, evaluate_files

    if options.plot is not None:
        from .io.atomic import ensure_writable
        from .io.pictures import refuse_other_formats, write_roc

        refuse_other_formats(options.plot)
        ensure_writable(options.plot)  # before the work, not after it
    model = DefectModel.load(options.model)
    with Bar("evaluating") as bar:
        for message in evaluate_files(
            model, find_images([options.test]), options.masks,
            stride=options.stride, device=options.device,
        ):  # fmt: skip
            if isinstance(message, FileProgress):
                bar.show(message.fraction, message.path.name)
            else:
                evaluation, seconds_per_image = message.evaluation, message.seconds_per_image
    if options.plot is not None:
        write_roc(options.plot, evaluation)
    overlap = {str(quantile): value for quantile, value in evaluation.overlap_quantiles.items()}
    result = {
        "pixel_auroc": evaluation.auroc,
        "pixel_auprc": evaluation.auprc,
        "aupro": evaluation.aupro,
        "overlap_at_fpr_0.05": overlap,
        "images": evaluation.images,
        "defects": evaluation.defects,
        "seconds_per_image": seconds_per_image,
    }
    text = (
        f"pixel AUROC {evaluation.auroc:.3f}, AUPRC {evaluation.auprc:.3f}, "
        f"AUPRO {evaluation.aupro:.3f} over {evaluation.images} images with "
        f"{evaluation.defects} defects; median overlap at 5 % false positives "
        f"{overlap['0.5']:.2f}; {seconds_per_image:.2f} s per image"
    )
    _print(options, result, text)
    return 0


def _info(options: argparse.Namespace) -> int:
    from .core.model import DefectModel

    model = DefectModel.load(options.model)
    result = {
        "config": model.config.model_dump(mode="json"),
        "channels": model.channels,
        "channel_axis": model.channel_axis,
        "parameters": sum(weights.numel() for weights in model.network.parameters()),
        "intensity_low": model.intensity.low,
        "intensity_high": model.intensity.high,
        "auto_threshold": model.auto_threshold,
        "calibration_pixels": model.calibration.pixels,
        "calibration_held_out": model.calibration.held_out,
        "provenance": dict(model.provenance),
        "history": [asdict(entry) for entry in model.history],
    }
    _print(options, result, "\n".join(_outline(result)))
    return 0


def _outline(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Lines ``name: value`` for a nested result, as a person reads them."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _outline(value, indent + "  ")
        elif name == "history":
            yield f"{indent}history (step, seconds, training loss, validation loss):"
            for entry in value:
                numbers = (f"{v:.4g}" if v is not None else "-" for v in entry.values())
                yield f"{indent}  {', '.join(numbers)}"
        else:
            yield f"{indent}{name}: {value}"


def _demo(options: argparse.Namespace) -> int:
    from .demo import run_demo

    results = run_demo(options.out, options.minutes)
    _print(options, results.summary, results.text)
    if not options.no_gui:
        refusal = results.show()
        if refusal:
            print(refusal, file=sys.stderr)
    return 0


def _print(options: argparse.Namespace, result: Mapping[str, Any], text: str) -> None:
    if options.json:
        text = json.dumps(result, indent=2)
    encoding = sys.stdout.encoding
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)

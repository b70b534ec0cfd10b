"""The command ``napari-ssim-defects``: demo, train, detect, evaluate, info.

Progress goes to stderr, results to stdout. Exit status: 0 done, 2 bad usage or bad input (one
line on stderr that says what is wrong and what to do), 1 anything else.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from .core.config import PRESETS, SegmentationConfig, TrainingConfig
from .core.errors import InputError
from .terminal import Bar, deferred_interrupt

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        options = _parser().parse_args(arguments)
        status: int = options.run(options)
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


class _Parser(argparse.ArgumentParser):
    """A parser that refuses bad usage in one line, as everything else is refused."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="napari-ssim-defects",
        description="Find defects in images after training on defect-free images only.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="the whole job on generated sample images")
    demo.add_argument("--out", type=Path, default=Path("demo-results"), metavar="DIR",
                      help="folder for the results (default: %(default)s)")  # fmt: skip
    demo.add_argument("--minutes", type=_positive, default=1.5, metavar="M",
                      help="training time (default: %(default)s)")  # fmt: skip
    demo.add_argument("--no-gui", action="store_true", help="never open napari")
    demo.add_argument("--json", action="store_true", help="print one JSON object")
    demo.set_defaults(run=_demo)

    train = commands.add_parser("train", help="train a model on defect-free images")
    train.add_argument("good", nargs="+", metavar="GOOD",
                       help="defect-free images: files, folders or globs")  # fmt: skip
    train.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL",
                       help="model file to write (.safetensors)")  # fmt: skip
    train.add_argument("--preset", choices=list(PRESETS), default="quick",
                       help="recipe (default: %(default)s)")  # fmt: skip
    train.add_argument("--system", choices=["ssim", "l2"],
                       help="structural similarity (default) or squared error")  # fmt: skip
    budget = train.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=_positive, metavar="M", help="training time")
    budget.add_argument("--epochs", type=_count, metavar="N", help="training length in epochs")
    train.add_argument("--seed", type=int, metavar="S", help="seed of everything random")
    _device_and_json(train)
    train.set_defaults(run=_train)

    detect = commands.add_parser("detect", help="find and outline defects")
    detect.add_argument("model", type=Path, metavar="MODEL")
    detect.add_argument("images", nargs="+", metavar="IMAGES",
                        help="images to inspect: files, folders or globs")  # fmt: skip
    detect.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                        help="folder for residuals, labels and regions.csv")  # fmt: skip
    detect.add_argument("--threshold", type=_threshold, default=None, metavar="T|auto",
                        help="residual above which a pixel is defective (default: auto, from the "
                        "defect-free training images)")  # fmt: skip
    detect.add_argument("--stride", type=_count, metavar="S", help="distance between patches (px)")
    defaults = SegmentationConfig()
    detect.add_argument("--opening", type=int, default=defaults.opening, metavar="D",
                        help="diameter of the opening (px; default: %(default)s)")  # fmt: skip
    detect.add_argument("--min-area", type=int, default=defaults.min_area, metavar="A",
                        help="smallest region (px; default: %(default)s)")  # fmt: skip
    detect.add_argument("--fill-holes", action=argparse.BooleanOptionalAction,
                        default=defaults.fill_holes, help="fill holes of regions")  # fmt: skip
    detect.add_argument("--convex-hull", action=argparse.BooleanOptionalAction,
                        default=defaults.convex_hull,
                        help="replace regions by their convex hulls")  # fmt: skip
    _device_and_json(detect)
    detect.set_defaults(run=_detect)

    evaluate = commands.add_parser("evaluate", help="score a model against ground truth")
    evaluate.add_argument("model", type=Path, metavar="MODEL")
    evaluate.add_argument("test", metavar="TEST_DIR", help="images with defects")
    evaluate.add_argument("masks", type=Path, metavar="MASK_DIR",
                          help="their masks, of the same names; non-zero = defect")  # fmt: skip
    evaluate.add_argument(
        "--stride", type=_count, metavar="S", help="distance between patches (px)"
    )
    evaluate.add_argument("--plot", type=Path, metavar="FILE",
                          help="write the ROC curve to a PNG, SVG or PDF file")  # fmt: skip
    _device_and_json(evaluate)
    evaluate.set_defaults(run=_evaluate)

    info = commands.add_parser("info", help="print what a model file holds")
    info.add_argument("model", type=Path, metavar="MODEL")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(run=_info)
    return parser


def _device_and_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda, mps or xpu (default: auto)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


_positive.__name__ = "positive number"  # argparse names the type by it


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


_count.__name__ = "positive whole number"


def _threshold(text: str) -> float | None:
    value = None if text == "auto" else float(text)
    if value is not None and not math.isfinite(value):
        raise ValueError
    return value


_threshold.__name__ = "threshold"


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
        opening=options.opening,
        fill_holes=options.fill_holes,
        min_area=options.min_area,
        convex_hull=options.convex_hull,
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

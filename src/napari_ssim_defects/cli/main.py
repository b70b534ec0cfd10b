"""The command ``napari-ssim-defects``: demo, train, detect, run, evaluate, calibrate, info.

Progress goes to stderr, results to stdout. Exit status: 0 done, 2 bad usage or bad input (one
line on stderr that says what is wrong and what to do), 1 anything else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..core.common.errors import NOT_ENOUGH_MEMORY, InputError, is_out_of_memory
from ..core.common.text import counted
from .arguments import argument_parser, detection_recipe, training_recipe
from .terminal import Bar, say_notices

if TYPE_CHECKING:
    from .demo import DemoResults

__all__ = ["main", "show_results"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        commands = {
            "demo": _demo, "train": _train, "detect": _detect, "run": _run, "evaluate": _evaluate,
            "calibrate": _calibrate, "info": _info
        }  # fmt: skip
        options = argument_parser().parse_args(arguments)
        status = commands[options.command](options)
    except InputError as error:
        # Names of files may hold line breaks.
        print(f"napari-ssim-defects: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"napari-ssim-defects: {NOT_ENOUGH_MEMORY}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("napari-ssim-defects: interrupted.", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of stdout went away, as `| head` does
        # Python writes what is left in the buffer when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _train(options: argparse.Namespace) -> int:
    from .train import run_train

    result, text = run_train(training_recipe(options), options.output, resume=options.resume)
    if result["stopped"] or result["share_of_training"] < 1:
        text += " The same command with --resume goes on with the training."
    _print(options, result, text)
    return 0


def _detect(options: argparse.Namespace) -> int:
    from .detect import run_detect

    recipe = detection_recipe(options)
    status, result, text = run_detect(recipe, options.model, overwrite=options.overwrite)
    _print(options, result, text)
    return status


def _run(options: argparse.Namespace) -> int:
    from .run import run_recipe

    status, result, text = run_recipe(
        options.recipe, options.device, options.cluster, overwrite=options.overwrite
    )
    _print(options, result, text)
    return status


def _evaluate(options: argparse.Namespace) -> int:
    from .evaluate import run_evaluate

    result, text = run_evaluate(options)
    _print(options, result, text)
    return 0


def _calibrate(options: argparse.Namespace) -> int:
    from ..core.common.progress import drained
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
    result = {
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
    _print(options, result, text)
    return 0


def _info(options: argparse.Namespace) -> int:
    from .info import run_info

    _print(options, *run_info(options.model))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from .demo import run_demo

    results = run_demo(options.out, options.minutes)
    _print(options, results.summary, results.text)
    if not options.no_gui:
        refusal = show_results(results)
        if refusal:
            print(refusal, file=sys.stderr)
    return 0


def show_results(results: DemoResults) -> str:
    """Open napari on the results of the demo; return a sentence if it was not opened."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "There is no display, so napari was not opened."
    try:
        from ..plugin.hooks.demo_viewer import show_demo
    except ImportError as error:
        return (
            f"napari was not opened ({error}); install it with "
            "pip install 'napari-ssim-defects[all]'."
        )
    show_demo(results)
    return ""


def _print(options: argparse.Namespace, result: Mapping[str, Any], text: str) -> None:
    if options.json:
        text = json.dumps(result, indent=2)
    encoding = sys.stdout.encoding
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)

"""The command ``napari-ssim-defects``: demo, train, detect, run, evaluate, calibrate, info.

Progress goes to stderr, results to stdout. Exit status: 0 done, 2 bad usage or bad input (one
line on stderr that says what is wrong and what to do), 1 anything else.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.common.errors import NOT_ENOUGH_MEMORY, InputError, is_out_of_memory
from .arguments import argument_parser, detection_recipe, training_recipe
from .terminal import CommandResult

if TYPE_CHECKING:
    from .demo import DemoResults

__all__ = ["main", "show_results"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        options = argument_parser().parse_args(arguments)
        if options.command == "demo":
            return _demo(options)
        result = _result(options)
        result.print(as_json=options.json)
        return result.status
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


def _result(options: argparse.Namespace) -> CommandResult:
    """Carry out a command but for the demo; each imports what it needs only now."""
    if options.command == "train":
        from .train import run_train

        result = run_train(training_recipe(options), options.output, resume=options.resume)
        if result.values["stopped"] or result.values["share_of_training"] < 1:
            hint = "The same command with --resume continues the training."
            return replace(result, text=f"{result.text} {hint}")
        return result
    if options.command == "detect":
        from .detect import run_detect

        return run_detect(detection_recipe(options), options.model, overwrite=options.overwrite)
    if options.command == "run":
        from .run import run_recipe

        return run_recipe(
            options.recipe, options.device, options.cluster, overwrite=options.overwrite
        )
    if options.command == "evaluate":
        from .evaluate import run_evaluate

        return run_evaluate(options)
    if options.command == "calibrate":
        from .calibrate import run_calibrate

        return run_calibrate(options)
    from .info import run_info

    return run_info(options.model)


def _demo(options: argparse.Namespace) -> int:
    """Print the result before napari opens on it."""
    from .demo import run_demo

    results = run_demo(options.out, options.minutes)
    CommandResult(results.summary, results.text).print(as_json=options.json)
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

"""Arguments of the command line ``napari-ssim-defects``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, get_args

from ..core.common.errors import InputError
from ..core.common.frozen_model import FrozenModel, Shown, shown
from ..core.config import (
    OutputConfig,
    OutputKind,
    SegmentationConfig,
    TrainingConfig,
)
from ..core.config.presets import PRESETS
from ..core.config.region import RegionOfInterest, parse_region
from ..core.model.thresholds import ThresholdPolicy, parse_threshold
from ..io.artifacts.recipe import DetectionRecipe, DetectionSettings, TrainingRecipe

__all__ = ["argument_parser", "detection_recipe", "evaluation_settings", "training_recipe"]

_POLICY = (
    "how the automatic threshold is computed from good images: a number, regions:N (false regions "
    "per image), fpr:RATE (pixels), quantile:Q or region:PIXELS"
)


class _Parser(argparse.ArgumentParser):
    """A parser that refuses bad usage in one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help.")


_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser; what it parses has the name of the command in ``command``.

    It raises `InputError` for bad usage.
    """
    parser = _Parser(
        prog="napari-ssim-defects",
        description="Find defects in images after training on defect-free images only.",
    )
    parser.add_argument("--version", action="version", version=version("napari-ssim-defects"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    for add in (
        _add_demo,
        _add_train,
        _add_detect,
        _add_run,
        _add_evaluate,
        _add_calibrate,
        _add_info,
    ):
        add(commands)
    return parser


def _add_demo(commands: _Commands) -> None:
    parser = commands.add_parser("demo", help="the whole job on generated sample images")
    parser.add_argument("--out", type=Path, default=Path("demo-results"), metavar="DIR",
                        help="folder for the results (default: %(default)s)")  # fmt: skip
    _setting(parser, TrainingConfig, "minutes")
    parser.add_argument("--no-gui", action="store_true", help="never open napari")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_train(commands: _Commands) -> None:
    parser = commands.add_parser("train", help="train a model on defect-free images")
    parser.add_argument("good", nargs="+", metavar="GOOD",
                        help="defect-free images: files, folders or globs")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL",
                        help="model file to write (.safetensors)")  # fmt: skip
    parser.add_argument("--preset", choices=list(PRESETS), default="quick",
                        help="named settings (default: %(default)s)")  # fmt: skip
    _setting(parser, TrainingConfig, "system", default=None)
    _setting(parser, TrainingConfig, "feature_network", "--features", default=None)
    parser.add_argument("--alexnet", type=Path, metavar="FILE",
                        help="weights of AlexNet for fmae (.safetensors or torchvision's .pth; "
                             "default: downloaded once)")  # fmt: skip
    parser.add_argument("--auto-threshold", type=parse_threshold, metavar="POLICY",
                        help=f"{_POLICY} (default: regions:1)")  # fmt: skip
    _region(parser, "the part of the images to train on")
    for name in ("minutes", "epochs", "seed"):
        _setting(parser, TrainingConfig, name, default=None)
    parser.add_argument("--resume", action="store_true",
                        help="continue a training that was killed or stopped, with the same images "
                             "and options")  # fmt: skip
    _device_and_json(parser)


def _add_detect(commands: _Commands) -> None:
    parser = commands.add_parser("detect", help="find and outline defects")
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("images", nargs="+", metavar="IMAGES",
                        help="images to detect defects in: files, folders or globs")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                        help="folder for residuals, labels and regions.csv")  # fmt: skip
    _scoring(parser)
    _region(parser, "the part of the images to detect defects in")
    _segmentation(parser)
    _outputs(parser)
    parser.add_argument("--overwrite", action="store_true",
                        help="process images again that an earlier run has finished")  # fmt: skip
    _setting(parser, DetectionRecipe, "report")
    _setting(parser, DetectionRecipe, "cluster")
    _device_and_json(parser)


def _add_run(commands: _Commands) -> None:
    parser = commands.add_parser("run", help="run a recipe: train, detect, or both")
    parser.add_argument("recipe", type=Path, metavar="RECIPE",
                        help="TOML file, written by the panel or by hand")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true",
                        help="train again and process images again, even if an earlier run has "
                             "finished")  # fmt: skip
    _setting(parser, DetectionRecipe, "cluster")
    _device_and_json(parser)


def _add_evaluate(commands: _Commands) -> None:
    parser = commands.add_parser("evaluate", help="score a model against ground truth")
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("test", metavar="TEST_DIR", help="images with defects, or without")
    parser.add_argument("masks", type=Path, metavar="MASK_DIR", nargs="?",
                        help="their masks, of the same names; non-zero = defect (default: no "
                        "image has a defect)")  # fmt: skip
    _scoring(parser)
    _region(parser, "the part of the images to evaluate")
    _segmentation(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE",
                        help="write ROC, precision-recall, overlap and FROC curves to a PNG, "
                        "SVG or PDF file")  # fmt: skip
    _device_and_json(parser)


def _add_calibrate(commands: _Commands) -> None:
    parser = commands.add_parser(
        "calibrate",
        help="calibrate a model on other good images, and choose its automatic threshold",
    )
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("good", nargs="+", metavar="GOOD",
                        help="defect-free images that were not trained on: files, folders or "
                        "globs")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="MODEL",
                        help="model file to write (default: the same)")  # fmt: skip
    parser.add_argument("--auto-threshold", type=parse_threshold, metavar="POLICY",
                        help=f"{_POLICY} (default: as before)")  # fmt: skip
    _region(parser, "the part of the images to calibrate on")
    _device_and_json(parser)


def _add_info(commands: _Commands) -> None:
    parser = commands.add_parser("info", help="print what a model file holds")
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def training_recipe(options: argparse.Namespace) -> TrainingRecipe:
    """Return the chosen training."""
    names = ("system", "feature_network", "minutes", "epochs", "seed")
    changes: dict[str, Any] = {
        name: getattr(options, name) for name in names if getattr(options, name) is not None
    }
    return TrainingRecipe(
        images=tuple(map(Path, options.good)),
        config=TrainingConfig.preset(options.preset, **changes),
        auto_threshold=options.auto_threshold,
        roi=options.roi,
        device=options.device,
        alexnet=options.alexnet,
    )


def detection_recipe(options: argparse.Namespace) -> DetectionRecipe:
    """Return the chosen detection."""
    return DetectionRecipe(
        images=tuple(map(Path, options.images)),
        folder=options.output,
        outputs=OutputConfig(kinds=options.save, format=options.format),
        **_common(options),
        **{name: getattr(options, name) for name in ("report", "pixel_size", "unit", "cluster")},
    )


def evaluation_settings(options: argparse.Namespace) -> DetectionSettings:
    """Return how images are to be scored."""
    return DetectionSettings(**_common(options))


def _common(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that detection and evaluation share."""
    names = ("threshold", "residual", "stride", "roi", "device")
    segmentation = {name: getattr(options, name) for name in SegmentationConfig.model_fields}
    return {
        "segmentation": SegmentationConfig(**segmentation),
        **{name: getattr(options, name) for name in names},
    }


def _scoring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threshold", type=_threshold, metavar="T|auto",
                        help="residual above which a pixel is defective: a number, or from good "
                        "images regions:N, fpr:RATE, quantile:Q or region:PIXELS (default: auto, "
                        "the model's own choice)")  # fmt: skip
    _setting(parser, DetectionRecipe, "residual")
    _setting(parser, DetectionRecipe, "stride")


def _region(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--roi", type=_roi, metavar="REGION",
                        help=f"{what}: margins to leave out such as bottom:60 or "
                        "top:20,bottom:60 (px), a box of rows and columns such as 0:960,0:1280, or "
                        "the file of a mask of their size (default: all)")  # fmt: skip


def _segmentation(parser: argparse.ArgumentParser) -> None:
    for name in SegmentationConfig.model_fields:
        _setting(parser, SegmentationConfig, name)


def _setting(
    parser: argparse.ArgumentParser,
    model: type[FrozenModel],
    name: str,
    option: str = "",
    **options: Any,
) -> None:
    """Add the option of a setting; without a default of its own it has that of the model."""
    about = shown(model, name)
    options = {"dest": name, "default": about.default, **options}
    usual = options["default"]
    if usual is None:
        usual = about.texts.get(None, "none") if about.optional else "the preset's"
    if about.kind is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif about.choices:
        options |= {"type": about.kind, "choices": about.choices}
    elif about.kind is not str:
        options |= {"type": _number(about), "metavar": about.unit.upper() or "N"}
    text = f"{about.help[:1].lower()}{about.help[1:].removesuffix('.')} (default: {usual})"
    options["help"] = text.replace("``", "").replace("%", "%%")
    parser.add_argument(option or f"--{name.replace('_', '-')}", **options)


def _number(about: Shown) -> Callable[[str], Any]:
    """Return what reads a number in the range of a setting."""
    low, above = about.limits.get("ge", -math.inf), about.limits.get("gt", -math.inf)
    high = about.limits.get("le", math.inf)

    def read(text: str) -> Any:
        try:
            number = about.kind(text)
            if low <= number <= high and number > above and math.isfinite(number):
                return number
        except ValueError:
            pass
        kind = "whole number" if about.kind is int else "number"
        names = {"ge": "at least", "gt": "above", "le": "at most"}
        limits = [f", {names[key]} {limit:,}" for key, limit in about.limits.items()]
        raise argparse.ArgumentTypeError(f"'{text}' is not a {kind}{''.join(limits)}")

    return read


def _outputs(parser: argparse.ArgumentParser) -> None:
    defaults = OutputConfig()
    parser.add_argument("--save", type=_kinds, default=defaults.kinds, metavar="KINDS",
                        help="what is written, separated by commas: "
                             f"{', '.join(get_args(OutputKind))} (default: "
                             f"{','.join(defaults.kinds)})")  # fmt: skip
    _setting(parser, OutputConfig, "format")
    parser.add_argument("--pixel-size", type=_sizes, metavar="SIZE",
                        help="height and width of a pixel, or one number for both, instead of that "
                             "in the files: 0.5 or 0.5,0.25")  # fmt: skip
    _setting(parser, DetectionRecipe, "unit")


def _device_and_json(parser: argparse.ArgumentParser) -> None:
    _setting(parser, DetectionRecipe, "device")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def _threshold(text: str) -> ThresholdPolicy | None:
    return None if text == "auto" else parse_threshold(text)


def _roi(text: str) -> RegionOfInterest:
    try:
        return parse_region(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).removesuffix(".")) from None


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(part.strip() for part in text.split(","))
    for kind in kinds:
        if kind not in get_args(OutputKind):
            raise argparse.ArgumentTypeError(
                f"'{kind}' is not one of {', '.join(get_args(OutputKind))}"
            )
    return kinds


def _sizes(text: str) -> tuple[float, ...]:
    return tuple(_positive(part) for part in text.split(","))


_sizes.__name__ = "pixel size"

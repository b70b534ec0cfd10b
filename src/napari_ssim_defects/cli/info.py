"""The command ``info``: what a model file says of itself, without its network."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ..core.config.residual_kinds import RESIDUAL_NAMES
from ..core.model.verdict import trained_on
from ..io.artifacts.model_header import ModelSummary, read_summary
from .terminal import CommandResult

__all__ = ["run_info"]


def run_info(path: Path) -> CommandResult:
    """Read a model file, and say what it holds."""
    model = read_summary(path)
    header, calibration = model.header, model.calibration
    verdict, corrected = model.verdict, model.corrected
    result = {
        "config": header.config.model_dump(mode="json"),
        "channels": header.channels,
        "channel_axis": header.channel_axis,
        "parameters": header.parameters,
        "intensity_low": header.intensity_low,
        "intensity_high": header.intensity_high,
        "auto_threshold": model.auto_threshold,
        "threshold": str(header.threshold),
        "residuals": [scoring.residual.kind for scoring in header.scorings],
        "calibration_pixels": calibration.pixels,
        "calibration_held_out": calibration.held_out,
        "verdict": None
        if verdict is None
        else {"grade": verdict.grade, "text": verdict.text, **asdict(verdict)},
        "corrections": [mark.model_dump(mode="json") for mark in header.corrections],
        "threshold_before_corrections": corrected.before,
        "warnings": list(header.warnings),
        "provenance": dict(header.provenance),
        "history": [
            dict(zip(("step", "seconds", "loss", "validation_loss"), entry, strict=True))
            for entry in header.history
        ],
    }
    return CommandResult(result, "\n".join(_lines(path, model)))


def _lines(path: Path, model: ModelSummary) -> list[str]:
    header, calibration = model.header, model.calibration
    config, residual = header.config, header.config.residual
    lines = [path.name, *trained_on(header.provenance)]
    steps = f"{header.history[-1][0]:,} steps" if header.history else "no steps"
    kind = {1: "grey", 3: "RGB"}.get(header.channels, f"{header.channels}-channel")
    lines.append(
        f"Preset {config.name}, {steps}, patches of {config.patch_size} px, {kind} images."
    )
    if residual.kind == "rarity":
        total = sum(member.weight for member in residual.members)
        views = ", ".join(
            f"{RESIDUAL_NAMES[member.residual.kind]} ({member.weight / total:.0%})"
            for member in residual.members
        )
        lines.append(f"One good pixel in a thousand has a residual above 3; scored by {views}.")
    else:
        lines.append(f"Scored by {RESIDUAL_NAMES[residual.kind]}.")
    regions = model.corrected.calibration.regions_per_image(model.auto_threshold)
    lines.append(
        f"Automatic threshold {model.auto_threshold:.4g}: at most {regions:.2g} false "
        f"region{'s' * (regions > 1.05)} in a good image, measured on {calibration.pixels:,} "
        f"good pixels {'kept out of' if calibration.held_out else 'of'} the training."
    )
    if model.verdict is not None:
        lines.append(model.verdict.text)
    if header.corrections:
        lines.append(model.corrected.text)
    lines += [f"warning: {text}" for text in header.warnings]
    return [*lines, "Every number: info --json."]
